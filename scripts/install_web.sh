#!/usr/bin/env bash
# Installs ONNX Runtime Web for the tests that train with it, into tests/web/node_modules.
# Never fails: the tests that need it say so when it is not there.
set -u
cd "$(dirname "$0")/../tests/web" || exit 0
if [ node_modules/.ready -nt package-lock.json ] && [ node_modules/.ready -nt package.json ]; then exit 0; fi
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
  echo "note: node and npm are not installed; the tests of the web runtime will be skipped (apt-get install nodejs npm)"
  exit 0
fi
# ci: exactly what the lock names, by digest. No package may run anything while it is installed.
npm ci --ignore-scripts --no-audit --no-fund --silent >/dev/null 2>&1 && touch node_modules/.ready \
  || echo "note: could not install onnxruntime-web; the tests of the web runtime will be skipped"
exit 0
