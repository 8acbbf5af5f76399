std = "luajit"
codes = true
max_line_length = 110
read_globals = { "vim" }
globals = { "vim.g", "vim.b", "vim.w", "vim.o", "vim.bo", "vim.wo", "vim.opt", "vim.notify", "vim.ui" }
files["tests/"] = { std = "+busted" }
