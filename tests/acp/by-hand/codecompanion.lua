-- What codecompanion.sh does in Neovim.
vim.o.swapfile = false
for _, plugin in ipairs({ "plenary.nvim", "codecompanion.nvim" }) do
  vim.opt.rtp:append(vim.env.PLUGINS .. "/" .. plugin)
end
vim.fn.chdir(vim.env.PROJECT)
local ok, error = pcall(function()
  local cc = require("codecompanion")
  cc.setup({
    adapters = {
      acp = {
        meanwhile = function()
          return require("codecompanion.adapters.acp").extend("opencode", {
            name = "meanwhile",
            formatted_name = "meanwhile",
            commands = { default = { vim.env.AGENT, "acp" } },
          })
        end,
      },
    },
    interactions = { chat = { adapter = "meanwhile" } },
  })
  vim.cmd.edit("notes.txt")
  local notes = vim.api.nvim_get_current_buf()
  local chat = cc.chat({ params = { adapter = "meanwhile" } }) or cc.last_chat()
  local buffer = chat.bufnr
  local function text()
    return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\n")
  end
  local function shows(words)
    local found = vim.wait(30000, function()
      return text():find(words, 1, true) ~= nil
    end, 20)
    assert(found, "never shown: " .. words .. "\n" .. text())
  end
  local function is_free()
    local free = vim.wait(30000, function()
      return chat.current_request == nil
    end, 20)
    assert(free, "the prompt is not answered\n" .. text())
  end
  local function say(words)
    is_free()
    vim.api.nvim_buf_set_lines(buffer, -1, -1, false, { words })
    chat:submit()
  end
  -- Presses the key of the choice with this label in the chat.
  local function choose(label)
    local pressed = vim.wait(30000, function()
      for _, map in ipairs(vim.api.nvim_buf_get_keymap(buffer, "n")) do
        if map.desc == label and map.callback then
          map.callback()
          return true
        end
      end
      return false
    end, 20)
    assert(pressed, "never asked\n" .. text())
  end
  local connected = vim.wait(30000, function()
    return chat.acp_connection ~= nil and chat.acp_connection:is_connected()
  end, 20)
  assert(connected, "not connected")
  say("does it build?")
  choose("Accept")
  shows("It runs.")
  shows("The build has failed.")
  say("change the notes")
  choose("Accept")
  shows("The notes are changed.")
  assert(vim.api.nvim_buf_get_lines(notes, 0, -1, false)[1] == "changed")
  say("wait")
  shows("I wait.")
  vim.wait(500)
  chat:stop()
  is_free()
  print(text())
  assert(not text():find("This is not said", 1, true))
  print("\nall well")
end)
if not ok then
  print(error)
end
vim.cmd(ok and "qall!" or "cquit!")
