-- Defines the command, the maps and the highlights. Other modules are loaded on first use.
if vim.g.loaded_meanwhile then
  return
end
vim.g.loaded_meanwhile = true

if vim.fn.has("nvim-0.11") == 0 then
  vim.notify("meanwhile: this plugin needs Neovim 0.11 or newer", vim.log.levels.ERROR)
  return
end

vim.api.nvim_create_user_command("Meanwhile", function(cmd)
  require("meanwhile.command").execute(cmd)
end, {
  nargs = "*",
  bang = true,
  range = true,
  desc = "Background tasks (:help meanwhile)",
  complete = function(...)
    return require("meanwhile.command").complete(...)
  end,
})

for name, command in pairs({
  Run = "run",
  List = "list",
  Output = "output",
  Stop = "stop",
  Drain = "drain",
  Quickfix = "quickfix",
  Timeline = "timeline",
  Chat = "chat",
}) do
  local desc = ":Meanwhile " .. command
  vim.keymap.set("n", ("<Plug>(Meanwhile%s)"):format(name), function()
    vim.cmd.Meanwhile(command)
  end, { desc = desc })
end
-- Runs the selected lines as a command.
vim.keymap.set(
  "x",
  "<Plug>(MeanwhileRun)",
  ":Meanwhile run<CR>",
  { silent = true, desc = ":Meanwhile run" }
)

require("meanwhile.ui.view").highlights()
local group = vim.api.nvim_create_augroup("meanwhile", { clear = true })
vim.api.nvim_create_autocmd("ColorScheme", {
  group = group,
  callback = function()
    require("meanwhile.ui.view").highlights()
  end,
})
vim.api.nvim_create_autocmd("VimEnter", {
  group = group,
  callback = function()
    if vim.g.meanwhile ~= nil and require("meanwhile.config").get().autostart then
      require("meanwhile").connect()
    end
  end,
})
