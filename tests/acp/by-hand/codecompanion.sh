#!/usr/bin/env bash
# Runs CodeCompanion in a real Neovim as a client of `meanwhile acp`, with a scripted model.
#   git clone https://github.com/olimorris/codecompanion.nvim /tmp/cc/codecompanion.nvim
#   git clone https://github.com/nvim-lua/plenary.nvim /tmp/cc/plenary.nvim
#   editors/setup nvim && cargo build && tests/acp/by-hand/codecompanion.sh /tmp/cc target/debug/meanwhile
# Answers a permission request, gets the result of a background build while the prompt is held, changes a file in its
# buffer, and cancels a turn. Prints the chat.
set -euo pipefail
plugins=$(realpath "$1") binary=$(realpath "$2") here=$(dirname "$(realpath "$0")")
source "$here/../../../editors/env.sh"
home=$(mktemp -d) && trap 'rm -rf "$home"' EXIT
mkdir "$home/project" && printf 'saved\n' >"$home/project/notes.txt"
cat >"$home/script.toml" <<'SCRIPT'
[[turn]]
text = 'I start the build.'
[[turn.call]]
tool = 'background_run'
input = { command = 'sleep 2; echo built > made; cat made; exit 3' }
save = { task = '[0-9a-f]{8}' }

[[turn]]
text = 'It runs.'

[[turn]]
expect = ['[bg:{{task}}] exited 3']
text = 'The build has failed.'

[[turn]]
[[turn.call]]
tool = 'edit_file'
input = { path = 'notes.txt', old_string = 'saved', new_string = 'changed' }

[[turn]]
expect = ['1 place changed']
text = 'The notes are changed.'

[[turn]]
text = 'I wait.'
[[turn.call]]
tool = 'bash'
input = { command = 'sleep 600' }

[[turn]]
text = 'This is not said.'
SCRIPT
export PLUGINS=$plugins AGENT=$binary PROJECT=$home/project
export MEANWHILE_STATE_DIR=$home/state MEANWHILE_MODEL=script/$home/script.toml XDG_STATE_HOME=$home XDG_DATA_HOME=$home
nvim --clean --headless -c "luafile $here/codecompanion.lua"
