#!/usr/bin/env bash
# Installs skopeo and docker-registry from Debian's or Ubuntu's packages where they are missing and that is possible.
# Never fails: the tests that need them say so when they are not there.
set -u
have() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }
if have skopeo && have docker-registry; then exit 0; fi
if ! have apt-get || [ "$(id -u)" != 0 ]; then
  echo "note: skopeo and docker-registry are not installed; the registry tests will be skipped (apt-get install skopeo docker-registry)"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends skopeo docker-registry; } >/dev/null 2>&1 \
  || echo "note: could not install skopeo and docker-registry; the registry tests will be skipped"
exit 0
