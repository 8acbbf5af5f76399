---@meta
-- The part of libuv that the plugin uses, for the type checker: Neovim's runtime only names the class.

---@class uv.uv_timer_t
---@field start fun(self: uv.uv_timer_t, timeout: integer, again: integer, fn: fun())
---@field stop fun(self: uv.uv_timer_t)
---@field close fun(self: uv.uv_timer_t)

---@class uv
---@field fs_stat fun(path: string): { mtime: { sec: integer } }?
---@field fs_realpath fun(path: string): string?
---@field gettimeofday fun(): integer, integer
---@field hrtime fun(): integer
---@field now fun(): integer
---@field new_timer fun(): uv.uv_timer_t?
