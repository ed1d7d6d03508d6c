#!/bin/sh
# Install the Debian packages that tests need, where this is Debian and root runs it: tests/install.sh chromium. Elsewhere
# it does nothing, and the tests say what they lack.
set -eu
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0
missing=
for package in "$@"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' $package 2> /dev/null) || true
  [ "$status" = installed ] || missing="$missing $package"
done
[ "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
quietly() {
  "$@" > "$log" 2>&1 || { tail -n 20 "$log" >&2; echo "Could not install$missing: see above" >&2; exit 1; }
}
echo "Installing$missing"
quietly apt-get update
# The packages' own daemons must not be started.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod 755 $policy
fi
quietly apt-get install --yes --no-install-recommends $missing
rm "$log"
