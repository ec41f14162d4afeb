// The map of footprints that can be moved, in place of the drawn one. Land and footprints come from this mirror; there are no tiles.
"use strict";

async function liveMap(section) {
  const room = section.querySelector(".live-map"), canvas = room.querySelector(".canvas"), places = room.querySelector("select");
  let land, shapes;
  try {
    [land, shapes] = await Promise.all([room.dataset.land, room.dataset.shapes].map(async (address) => {
      const answer = await fetch(address);
      if (!answer.ok) throw new Error(answer.status);
      return answer.json();
    }));
  } catch {
    return;  // the drawn map stays
  }
  section.querySelector(".frames").hidden = true;
  room.hidden = false;
  const map = L.map(canvas, { attributionControl: false, zoomControl: false, minZoom: 1, maxZoom: 14, worldCopyJump: false, zoomSnap: 0.25 });
  L.control.zoom({ zoomInTitle: room.dataset.in, zoomOutTitle: room.dataset.out }).addTo(map);
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", room.dataset.label);
  L.geoJSON(land, { interactive: false, style: { className: "land" } }).addTo(map);
  const alone = shapes.features.length === 1;
  const drawn = L.geoJSON(shapes, {
    style: { className: "shape" },
    onEachFeature: (feature, layer) => {
      const label = document.createElement("span");
      label.textContent = feature.properties.label;
      layer.bindTooltip(label, alone ? { permanent: true, direction: "center" } : { sticky: true });
      if (feature.properties.href) layer.on("click", () => location.assign(feature.properties.href));
    },
  }).addTo(map);
  // The label of the only footprint stands above it, or below where there is no room; on a large one it covers little.
  function clearOf(layer) {
    const box = layer.getBounds(), middle = box.getCenter().lng, tip = layer.getTooltip();
    const [top, foot] = [box.getNorth(), box.getSouth()].map((latitude) => map.latLngToContainerPoint([latitude, middle]).y);
    const large = foot - top > 100, above = top > 50;
    tip.options.direction = large ? "center" : above ? "top" : "bottom";
    tip.setLatLng(large ? layer.getCenter() : [above ? box.getNorth() : box.getSouth(), middle]);
  }
  const everything = drawn.getBounds().isValid() ? drawn.getBounds() : L.latLngBounds([41, -6], [51.7, 10.5]);
  // Of all the places, those with footprints are offered; the first is what is seen first. A place is seen as a whole, however
  // little of it the footprints are: else nobody knows where they are.
  const boxes = [];
  drawn.eachLayer((layer) => boxes.push(layer.getBounds()));
  const boxOf = (option) => {
    const [west, south, east, north] = option.value.split(",").map(Number);
    return L.latLngBounds([south, west], [north, east]);
  };
  const inside = (option) => boxes.filter((one) => boxOf(option).contains(one.getCenter()));
  for (const option of [...places.options].slice(1)) if (!inside(option).length) option.remove();
  const around = [...places.options].slice(1).reduce((all, option) => all.extend(boxOf(option)), everything);
  function go() {
    const option = places.selectedOptions[0];
    const bounds = option.value ? inside(option).reduce((all, one) => all.extend(one), boxOf(option)) : around;
    map.fitBounds(bounds, { maxZoom: 10, padding: [4, 4], animate: false });
  }
  if (places.options.length > 2) places.selectedIndex = 1;
  go();
  if (places.options.length < 3) places.parentElement.hidden = true;
  places.addEventListener("change", go);
  if (alone) {
    const clear = () => drawn.eachLayer(clearOf);
    clear();
    map.on("moveend", clear);
  }
}

document.querySelectorAll("section.map").forEach(liveMap);
