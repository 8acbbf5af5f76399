--- A Neovim with its chat open on a scripted model, for the specs.

local harness = require("harness")

local M = {}

--- Writes a script for the model to a file.
---@param place Place
---@param script string
---@return table env
function M.model(place, script)
  local path = place.dir .. "/agent.toml"
  vim.fn.writefile(vim.split(script, "\n"), path)
  return { MEANWHILE_MODEL = "script/" .. path }
end

--- Returns a tool call for a turn of a script.
---@param input table<string, string>
---@param tool? string default: `background_run`
---@return string
function M.call(input, tool)
  local parts = {}
  for name, value in vim.spairs(input) do
    table.insert(parts, ("%s = %s"):format(name, vim.json.encode(value)))
  end
  return ('[[turn.call]]\ntool = "%s"\ninput = { %s }\n'):format(
    tool or "background_run",
    table.concat(parts, ", ")
  )
end

---@class Chatting: Child
local Chatting = setmetatable({}, { __index = harness.Child })

--- Starts a Neovim with its chat open.
---@param place Place
---@param script string
---@param opts? table
---@return Chatting
function M.open(place, script, opts)
  opts = vim.tbl_extend("force", { lines = 50, columns = 120 }, opts or {})
  opts.env = M.model(place, script)
  local nvim = setmetatable(harness.child(place, opts), { __index = Chatting })
  nvim:cmd("Meanwhile! chat")
  nvim:sees("idle")
  nvim:eventually("vim.bo.filetype == 'meanwhile-prompt'")
  return nvim
end

--- Returns the text of the transcript.
---@return string
function Chatting:said()
  return self:lua([[
    local buf = require("meanwhile.ui.view").find(
      "meanwhile://chat" .. require("meanwhile.workspace").root())
    return table.concat(vim.api.nvim_buf_get_lines(buf, 0, -1, false), "\n")
  ]])
end

--- Waits until the transcript matches a pattern.
---@param pattern string
---@return string
function Chatting:says(pattern)
  local text
  local ok = vim.wait(harness.patience, function()
    text = self:said()
    return text:find(pattern) ~= nil
  end, 30)
  if not ok then
    error(("never said: %s\n%s\ntold: %s"):format(pattern, text, self:told()), 2)
  end
  return text
end

--- Types a prompt and sends it.
---@param text string
function Chatting:ask(text)
  self:type("i" .. text .. "<Esc><CR>")
end

--- Returns the session of the chat.
---@return string
function Chatting:session()
  return self:lua([[
    return require("meanwhile.ui.chat").current(require("meanwhile.workspace").get())
  ]])
end

--- Adds the methods of a chat to a Neovim that was not started by `open`.
---@param nvim Child
---@return Chatting
function M.of(nvim)
  return setmetatable(nvim, { __index = Chatting })
end

return M
