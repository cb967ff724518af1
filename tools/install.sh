# Sourced by ./cloudchamber and ./test: a virtual environment with the package, and Debian packages where they help.

say() { printf '  %s\n' "$*" >&2; }

fits() { command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    # Why: who names an interpreter means that one; another would only be found out later.
    fits "$PYTHON" && command -v "$PYTHON" && return
    say "PYTHON=$PYTHON does not run, or is older than Python 3.11"
    exit 1
  fi
  for name in python3.11 python3.12 python3.13 python3; do
    fits "$name" && command -v "$name" && return
  done
  say "Python 3.11 or later is needed; on Debian: apt-get install python3 python3-venv"
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1; then sudo -n "$@"; else return 1; fi
}

# Debian packages that are not installed yet; a machine without apt-get or root is told what to install.
install_packages() {
  missing=
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "installing$missing"
  if ! { as_root apt-get update -q >/dev/null && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing >/dev/null; }; then
    say "could not install$missing; run as root: apt-get install$missing"
    return 1
  fi
}

# install_cloudchamber FOLDER REQUIREMENT: nothing to do when what it is made of is what was installed.
install_cloudchamber() {
  environment="$1/.venv"
  stamp="$environment/installed"
  want="$2 $(cat "$1/pyproject.toml" "$1/tools/constraints.txt" | cksum)"
  case "$(cat "$stamp" 2>/dev/null)" in *"$want"*) return 0 ;; esac
  python=$(find_python)
  if [ ! -x "$environment/bin/python" ]; then
    say "making a virtual environment with $python"
    if ! "$python" -m venv "$environment" >/dev/null 2>&1; then
      rm -rf "$environment"
      version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
      install_packages "python$version-venv" || exit 1
      "$python" -m venv "$environment"
    fi
  fi
  # What makes security groups filter inside the sandbox; without it the doctor says what is weaker.
  command -v nft >/dev/null 2>&1 || [ -x /usr/sbin/nft ] || install_packages nftables || true
  say "installing cloudchamber and what it needs (once)"
  log="$environment/install.log"
  if ! "$environment/bin/python" -m pip install --disable-pip-version-check -c "$1/tools/constraints.txt" -e "$2" 2>&1 | tee "$log" |
    sed -u -n 's/^Collecting \([^ (]*\).*/    fetching \1/p; s/^Installing collected packages.*/    installing/p' >&2 ||
    ! grep -q '^Successfully installed' "$log"; then
    tail -n 20 "$log" >&2
    say "the installation failed; the whole log is $log"
    exit 1
  fi
  printf '%s\n' "$want" >>"$stamp"
}
