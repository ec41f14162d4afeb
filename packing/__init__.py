"""What puts the program in place: install and uninstall, the Debian package, man page and completions. No part of the program."""
