--- Messages to the person: ends of tasks, where several ends at once are one message, and errors, each
--- shown once. Never opens a window.

local config = require("meanwhile.config")
local format = require("meanwhile.format")

local M = {}

--- How long to collect ends of tasks before one message reports them.
local gather_ms = 120
--- If more tasks than this end at once, the message only counts them.
local listed = 3

--- Whether `vim.notify` is Neovim's own, which shows messages at the bottom of the screen and waits for a
--- key if one needs two lines. A plugin's `vim.notify` has room for the whole text.
---@return boolean
local function builtin()
  return debug.getinfo(vim.notify, "S").source:find("vim/_editor", 1, true) ~= nil
end

--- How many columns a message may have before Neovim waits for a key.
---@return integer
local function room()
  return math.max(20, vim.v.echospace > 0 and vim.v.echospace or vim.o.columns - 12)
end

---@param text string
---@param level integer
local function say(text, level)
  vim.notify(builtin() and format.cut(text, room()) or text, level, { title = "meanwhile" })
end

--- Shows the error of a request, unless the person has seen it already.
---@param err? meanwhile.Error
function M.failure(err)
  if err and not err.told then
    M.fault(err.message)
  end
end

--- Shows an error and its remedy, without cutting the text.
---@param text string
function M.fault(text)
  -- Scheduled, because an error shown while a command runs would abort that command.
  vim.schedule(function()
    vim.notify("meanwhile: " .. text, vim.log.levels.ERROR, { title = "meanwhile" })
  end)
end

---@param text string
function M.info(text)
  say("meanwhile: " .. text, vim.log.levels.INFO)
end

---@param text string
function M.warn(text)
  say("meanwhile: " .. text, vim.log.levels.WARN)
end

--- The levels of the daemon's notices.
local levels = { warning = vim.log.levels.WARN, error = vim.log.levels.ERROR }

---@param task meanwhile.Task
---@param name integer the maximum width of its name
---@return string
local function sentence(task, name)
  return ("%s %s"):format(format.cut(format.name(task), name), format.ending(task))
end

--- The least width to cut a name to; a shorter one is not readable.
local shortest_name = 12

--- The ends of tasks as one screen line, or nil if they do not fit.
---@param tasks meanwhile.Task[]
---@return string?
local function one_line(tasks)
  local left = room() - 2 * (#tasks - 1)
  local widths = {}
  for i, task in ipairs(tasks) do
    left = left - vim.fn.strdisplaywidth(format.ending(task)) - 1
    widths[i] = vim.fn.strdisplaywidth(format.name(task))
  end
  table.sort(widths)
  -- Longer names get the columns that short names leave free.
  local share = left
  for i, width in ipairs(widths) do
    share = math.floor(left / (#widths - i + 1))
    left = left - math.min(share, width)
  end
  if share < math.min(shortest_name, widths[#widths]) and #tasks > 1 then
    return nil
  end
  local parts = vim.tbl_map(function(task)
    return sentence(task, math.max(shortest_name, share))
  end, tasks)
  return table.concat(parts, "; ")
end

---@type meanwhile.Task[]
local ends = {}

--- Whether Neovim has the focus; true if the terminal does not report it.
local focused = true

local function flush()
  -- Wait until the person is back, who would otherwise miss the message.
  if not focused or #ends == 0 then
    return
  end
  local tasks, failed, worst = ends, 0, vim.log.levels.INFO
  ends = {}
  for _, task in ipairs(tasks) do
    local level = levels[task.shown.notice] or vim.log.levels.INFO
    failed = failed + (level == vim.log.levels.ERROR and 1 or 0)
    worst = math.max(worst, level)
  end
  local text = #tasks <= listed and one_line(tasks)
  if not text then
    text = ("meanwhile: %d tasks ended"):format(#tasks)
    if failed > 0 then
      text = text .. (", %d of them failed"):format(failed)
    end
  end
  say(text, worst)
end

--- Whether a window shows a task: its line in the list, or its output.
---@param task meanwhile.Task
---@return boolean
local function seen(task)
  local names = { "meanwhile://tasks" .. task.workspace, "meanwhile://output/" .. task.id }
  for _, win in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    local name = vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(win))
    if focused and vim.list_contains(names, name) then
      return true
    end
  end
  return false
end

---@type string?
local faulty

--- Whether to notify the person about a task. If the option `notify` is a function, it alone decides; if it
--- fails, its error is shown once, and the person is notified.
---@param task meanwhile.Task
---@return boolean
local function wanted(task)
  local notify = config.get().notify
  if type(notify) ~= "function" then
    local long = not task.durationMs or task.durationMs >= config.get().notify_after * 1000
    return notify == true and task.shown.notice ~= nil and long and not seen(task)
  end
  local ok, answer = pcall(notify, task)
  if not ok and faulty ~= answer then
    faulty = answer --[[@as string]]
    M.fault("`vim.g.meanwhile.notify` failed: " .. tostring(answer))
  end
  return not ok or (answer and true or false)
end

local group = vim.api.nvim_create_augroup("meanwhile-focus", { clear = true })
local keys = vim.api.nvim_create_namespace("meanwhile-focus")

local function present()
  vim.on_key(nil, keys)
  focused = true
  flush()
end

vim.api.nvim_create_autocmd("FocusLost", {
  group = group,
  callback = function()
    focused = false
    -- Some terminals report only the loss of focus, so a typed key counts as its return. Movement of the
    -- cursor does not count: growing output also moves it.
    vim.on_key(function(_, typed)
      if typed ~= "" then
        vim.schedule(present)
      end
    end, keys)
  end,
})
vim.api.nvim_create_autocmd({ "FocusGained", "VimResume" }, { group = group, callback = present })

--- Notifies the person that a running task waits for input.
---@param task meanwhile.Task
function M.stalled(task)
  if not task.agent and wanted(task) then
    M.warn(("%s waits for input (:Meanwhile output %s)"):format(format.name(task), task.id))
  end
end

--- Notifies the person of the end of a task, if they want that; ends of an agent's tasks go to the agent.
---@param task meanwhile.Task
function M.ended(task)
  if not task.agent and wanted(task) then
    table.insert(ends, task)
    vim.defer_fn(flush, gather_ms)
  end
end

return M
