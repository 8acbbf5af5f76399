--- Requests for permission: each is asked with `vim.ui.select`, one after the other, and never over
--- something the person is typing elsewhere.

local tell = require("meanwhile.tell")

local M = {}

---@class meanwhile.Ask
---@field params table
---@field answer fun(outcome: table)
---@field done boolean

---@type table<string, meanwhile.Ask[]> by session
local waiting = {}
local asking = false

--- Those of a session that are not answered yet.
---@param session string
---@return meanwhile.Ask[]
function M.waiting(session)
  return vim.tbl_filter(function(ask)
    return not ask.done
  end, waiting[session] or {})
end

---@param ask meanwhile.Ask
---@param outcome table
local function answer(ask, outcome)
  if not ask.done then
    ask.done = true
    ask.answer({ outcome = outcome })
  end
end

--- Everything that waits of a session is taken back.
---@param session string
function M.cancel(session)
  for _, ask in ipairs(waiting[session] or {}) do
    answer(ask, { outcome = "cancelled" })
  end
  waiting[session] = nil
end

--- What is asked about, in one line.
---@param params table
---@return string
function M.question(params)
  local call = params.toolCall or {}
  local input = call.rawInput
  local what = call.title or call.kind or "a tool"
  if
    type(input) == "table"
    and type(input.command) == "string"
    and not what:find(input.command, 1, true)
  then
    what = what .. ": " .. input.command
  end
  return require("meanwhile.format").one_line(what)
end

--- Asks the next one, where the person is ready for it.
---@param session string
function M.next(session)
  local open = M.waiting(session)
  local ask = open[1]
  if not ask or asking then
    return
  end
  asking = true
  local options = ask.params.options or {}
  vim.ui.select(options, {
    prompt = "Allow the agent: " .. M.question(ask.params),
    kind = "meanwhile-permission",
    format_item = function(option)
      return option.name
    end,
  }, function(option)
    asking = false
    if option then
      answer(ask, { outcome = "selected", optionId = option.optionId })
    elseif not ask.done then
      -- Who closes the question decides nothing: it stays, and can be asked again.
      tell.info("the agent waits for your answer (p in the chat asks again)")
      return
    end
    M.next(session)
  end)
end

--- Takes a request in. Called in a coroutine, which goes on once it is answered.
---@param params table
---@param arrived fun() told once it is in the list
---@return table response
function M.request(params, arrived)
  local co = assert(coroutine.running(), "a request is answered in a coroutine")
  local ask = { params = params, done = false }
  local early
  ask.answer = function(response)
    if coroutine.status(co) == "suspended" then
      coroutine.resume(co, response)
    else
      early = response
    end
  end
  waiting[params.sessionId] = M.waiting(params.sessionId)
  table.insert(waiting[params.sessionId], ask)
  arrived()
  return early or coroutine.yield()
end

return M
