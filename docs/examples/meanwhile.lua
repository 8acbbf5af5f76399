-- :Task cargo build --workspace
local client = vim.lsp.start({
  name = "meanwhile",
  cmd = { "meanwhile", "serve" },
  root_dir = vim.fn.getcwd(),
  handlers = {
    ["task/exited"] = function(_, params)
      local task = params.notification.task
      vim.notify(("%s: %s, exit code %s"):format(task.command, task.state, task.exit.code))
    end,
  },
}, { attach = false })
vim.api.nvim_create_user_command("Task", function(command)
  vim.lsp.get_client_by_id(client):request("task/spawn", { command = command.args }, function(err)
    vim.notify(err and err.message or ("started: " .. command.args))
  end)
end, { nargs = "+" })
