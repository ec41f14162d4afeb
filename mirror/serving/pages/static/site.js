// What scripts add to the pages: suggestions while typing, buttons that copy, a status that refreshes itself. All work without.
"use strict";

// -- suggestions: a combobox with a list, by the pattern of the ARIA Authoring Practices

function suggest(input) {
  const list = document.createElement("ul");
  list.id = "suggestions";
  list.className = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", input.dataset.label);
  list.hidden = true;
  const told = document.createElement("p");
  told.className = "unseen";
  told.setAttribute("aria-live", "polite");
  input.parentElement.append(list, told);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id, "aria-haspopup": "listbox",
  })) input.setAttribute(name, value);

  let chosen = -1, timer = 0, asking = null;

  function close() {
    list.hidden = true;
    list.replaceChildren();
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(number) {
    const options = [...list.children];
    if (!options.length) return;
    chosen = (number + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
    input.setAttribute("aria-activedescendant", options[chosen].id);
    options[chosen].scrollIntoView({ block: "nearest" });
  }

  function show(found) {
    close();
    found.forEach((one, number) => {
      const option = document.createElement("li");
      option.id = "suggestion-" + number;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.dataset.path = one.path;
      const text = document.createElement("span");
      text.textContent = one.text;
      const kind = document.createElement("small");
      kind.textContent = [input.dataset[one.kind], one.state, one.code].filter(Boolean).join(" · ");
      option.append(text, " ", kind);
      list.append(option);
    });
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    told.textContent = input.dataset.counted.replace("{n}", found.length);
  }

  async function ask() {
    if (asking) asking.abort();
    const typed = input.value.trim();
    if (typed.length < 2) return close();
    asking = new AbortController();
    try {
      const answer = await fetch(input.dataset.suggest + "?q=" + encodeURIComponent(typed), { signal: asking.signal });
      if (answer.ok && document.activeElement === input) show((await answer.json()).suggestions);
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  }

  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 120); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (list.hidden) { if (event.key === "ArrowDown") ask(); return; }
      event.preventDefault();
      choose(chosen < 0 && event.key === "ArrowUp" ? -1 : chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && chosen >= 0) {
      event.preventDefault();
      location.assign(list.children[chosen].dataset.path);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (event.key === "Tab") close();
  });
  input.addEventListener("blur", close);
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) location.assign(option.dataset.path);
  });
}

// -- copying

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // not over https, or not allowed
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function copyable(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = document.body.dataset.copy;
  const about = block.querySelector("pre").getAttribute("aria-label");
  if (about) button.setAttribute("aria-label", document.body.dataset.copy + ": " + about);
  const told = document.createElement("span");
  told.className = "unseen";
  told.setAttribute("aria-live", "polite");
  block.append(button, told);
  button.addEventListener("click", async () => {
    await copy(block.querySelector("code").textContent);
    button.textContent = told.textContent = document.body.dataset.copied;
    setTimeout(() => { button.textContent = document.body.dataset.copy; told.textContent = ""; }, 2000);
  });
}

// -- a page that refreshes a part of itself, while somebody looks at it

function refresh(part) {
  const line = document.getElementById("refreshing"), button = line.querySelector("button");
  let paused = false;
  line.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? button.dataset.resume : button.dataset.pause;
  });
  setInterval(async () => {
    if (paused || document.hidden || part.contains(document.activeElement) || String(getSelection())) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
      if (!answer.ok || !fresh) return;
      const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
      part.replaceChildren(...fresh.childNodes);
      for (const id of open) if (id) document.getElementById(id)?.setAttribute("open", "");
    } catch { /* the mirror is away for a moment; the next turn asks again */ }
  }, 1000 * Number(part.dataset.refresh));
}

document.querySelectorAll("input[data-suggest]").forEach(suggest);
document.querySelectorAll(".code").forEach(copyable);
document.querySelectorAll("[data-refresh]").forEach(refresh);
// Empty fields of a form say nothing in an address.
document.querySelectorAll("form.search").forEach((form) => form.addEventListener("submit", () => {
  for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
}));
addEventListener("pageshow", () => document.querySelectorAll("form.search :disabled").forEach((field) => { field.disabled = false; }));
