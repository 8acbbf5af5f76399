# source editors/env.sh: what editors/setup installed, on the PATH.
MEANWHILE_EDITORS=${XDG_CACHE_HOME:-$HOME/.cache}/meanwhile-editors
export MEANWHILE_EDITORS npm_config_nodedir=$MEANWHILE_EDITORS/node24/prefix
export PATH=$MEANWHILE_EDITORS/node24/bin:$MEANWHILE_EDITORS:$MEANWHILE_EDITORS/tools/node_modules/.bin:$PATH
# busted for Lua 5.1, which runs inside Neovim's own LuaJIT.
export LUA_PATH="/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua;;"
export LUA_CPATH="/usr/lib/$(uname -m)-linux-gnu/lua/5.1/?.so;;"
