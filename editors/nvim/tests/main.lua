-- Runs busted inside Neovim's own LuaJIT: nvim --clean --headless -l tests/main.lua SPEC..
local here = vim.fn.fnamemodify(debug.getinfo(1, "S").source:sub(2), ":p:h")
vim.opt.runtimepath:prepend(vim.fn.fnamemodify(here, ":h"))
package.path = here .. "/?.lua;" .. package.path
require("busted.runner")({ standalone = false, output = here .. "/handler.lua" })
