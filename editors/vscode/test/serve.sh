#!/usr/bin/env bash
# Starts a real VS Code on 127.0.0.1 and prints its port; ends with its parent.
#   usage: serve.sh WORKSPACE DATA_DIR [more code-server flags]
# For tests inside the extension host add: --vscode-option enable-smoke-test-driver
# To install a package first: node $CS --extensions-dir DATA_DIR/ext --install-extension x.vsix
set -euo pipefail
workspace=$1 data=$2
shift 2
CS=$MEANWHILE_EDITORS/code-server/node_modules/code-server/out/node/entry.js
mkdir -p "$data/ext" "$data/user"
printf 'auth: none\ncert: false\n' > "$data/config.yaml"
port=${PORT:-$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')}
export EXTENSIONS_GALLERY='{"serviceUrl":"http://127.0.0.1:9/none","itemUrl":"","resourceUrlTemplate":""}'
echo "$port"
exec node "$CS" --config "$data/config.yaml" --auth none --bind-addr "127.0.0.1:$port" \
  --extensions-dir "$data/ext" --user-data-dir "$data/user" --disable-telemetry \
  --disable-update-check --disable-workspace-trust --disable-getting-started-override \
  --disable-proxy --reconnection-grace-time 3 "$@" "$workspace" > "$data/server.log" 2>&1
