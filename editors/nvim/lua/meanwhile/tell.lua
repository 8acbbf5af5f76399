--- What the person is told: ends of tasks, gathered so that many at once are one message, and faults,
--- each once. Never opens a window.

local config = require("meanwhile.config")
local format = require("meanwhile.format")

local M = {}

--- Ends within this time of one another are one message.
local gather_ms = 120
--- More ends than this at once are counted rather than listed.
local listed = 3

--- A message that fits on one line of the screen, so that it never asks for a key.
---@param text string
---@param level integer
local function say(text, level)
  local room = math.max(20, vim.v.echospace > 0 and vim.v.echospace or vim.o.columns - 12)
  -- Those who show messages elsewhere have the room for all of it.
  local builtin = debug.getinfo(vim.notify, "S").source:find("vim/_editor", 1, true)
  vim.notify(builtin and format.cut(text, room) or text, level, { title = "meanwhile" })
end

--- The error of a request, unless the person has been told of it already.
---@param err? meanwhile.Error
function M.failure(err)
  if err and not err.told then
    M.fault(err.message)
  end
end

--- What could not be done, and what mends it. All of it, however long.
---@param text string
function M.fault(text)
  -- Later, since an error that is echoed while a command runs would end that command.
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

---@type meanwhile.Task[]
local ends = {}

local function flush()
  local tasks = ends
  ends = {}
  local failed = vim.tbl_filter(function(task)
    return format.outcome(task) ~= "ok"
  end, tasks)
  if #tasks > listed then
    local text = ("%d tasks ended"):format(#tasks)
    if #failed > 0 then
      text = text .. (", %d of them failed or stopped"):format(#failed)
    end
    return say("meanwhile: " .. text, vim.log.levels[#failed > 0 and "ERROR" or "INFO"])
  end
  for _, task in ipairs(tasks) do
    local outcome = format.outcome(task)
    local level = outcome == "ok" and "INFO" or outcome == "stopped" and "WARN" or "ERROR"
    local ending = format.ending(task)
    local room = math.max(12, vim.o.columns - vim.fn.strdisplaywidth(ending) - 30)
    say(("%s %s"):format(format.cut(format.name(task), room), ending), vim.log.levels[level])
  end
end

--- The end of a task, if the person wants to hear it.
---@param task meanwhile.Task
---@param ours boolean whether it is on the person's own queue rather than an agent's
function M.ended(task, ours)
  local wanted = config.get().notify
  if type(wanted) == "function" then
    wanted = wanted(task)
  else
    wanted = wanted and ours
  end
  if not wanted then
    return
  end
  table.insert(ends, task)
  if #ends == 1 then
    vim.defer_fn(flush, gather_ms)
  end
end

return M
