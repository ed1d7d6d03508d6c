#!/bin/sh
# Install the Debian packages that tests need, where this is Debian and root runs it: tests/install.sh chromium. The tests
# say what they lack.
set -eu
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0
missing=
for package in "$@"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' $package 2> /dev/null) || true
  [ "$status" = installed ] || missing="$missing $package"
done
[ "$missing" ] || exit 0
# The packages' own daemons must not be started.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
echo "Installing$missing"
if ! { apt-get update && apt-get install --yes --no-install-recommends $missing; } > "$log" 2>&1; then
  echo "Could not install them; $log says why" >&2
fi
