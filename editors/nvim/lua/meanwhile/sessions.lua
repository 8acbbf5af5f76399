--- The agent sessions of a workspace: their traces, kept up to date, and the requests about them.
--- What a session said is the transcript's; what the person sees is the chat's.

local format = require("meanwhile.format")
local tell = require("meanwhile.tell")

local M = {}

---@alias meanwhile.TraceType
---| "turn_started"
---| "call_started"
---| "call_ended"
---| "tool_started"
---| "tool_ended"
---| "task_spawned"
---| "delivered"
---| "turn_ended"
---| "compacted"
---| "resumed"

---@class meanwhile.TraceEvent
---@field n integer
---@field at string
---@field type meanwhile.TraceType
---@field turn? integer
---@field call? integer
---@field toolCallId? string
---@field taskId? string
---@field name? string
---@field title? string
---@field command? string
---@field moved? boolean
---@field origin? "prompt"|"background"
---@field stopReason? string
---@field error? string
---@field isError? boolean
---@field inputTokens? integer
---@field outputTokens? integer
---@field cachedTokens? integer
---@field costUsd? number
---@field by? string
---@field kind? string

---@class meanwhile.TraceTask
---@field taskId string
---@field command string
---@field toolCallId? string
---@field spawnedInCall? integer
---@field spawnedAt string
---@field endedAt? string
---@field queuedAt? string
---@field state? meanwhile.State
---@field exit? meanwhile.Exit
---@field cause? meanwhile.Cause
---@field shown meanwhile.Shown
---@field deliveredInCall? integer
---@field deliveredBy? string

---@class meanwhile.Trace
---@field id string the session
---@field events meanwhile.TraceEvent[] ascending
---@field tasks table<string, meanwhile.TraceTask>
---@field seen table<integer, true>
local Trace = {}
Trace.__index = Trace

---@param id string
---@return meanwhile.Trace
function M.trace(id)
  return setmetatable({ id = id, events = {}, tasks = {}, seen = {} }, Trace)
end

--- Takes an event in, whether it was pushed or fetched, each once and in order.
---@param event meanwhile.TraceEvent
function Trace:add(event)
  if self.seen[event.n] then
    return
  end
  self.seen[event.n] = true
  local at = #self.events + 1
  while at > 1 and self.events[at - 1].n > event.n do
    at = at - 1
  end
  table.insert(self.events, at, event)
  if event.type == "task_spawned" and not self.tasks[event.taskId] then
    self.tasks[event.taskId] = {
      taskId = event.taskId,
      command = event.command,
      toolCallId = event.toolCallId,
      spawnedInCall = event.call,
      spawnedAt = event.at,
      shown = { title = event.command, outcome = "running", stands = "running" },
    }
  elseif event.type == "delivered" and event.kind == "exited" then
    local task = self.tasks[event.taskId]
    if task then
      task.deliveredInCall, task.deliveredBy = event.call, event.by
    end
  end
end

--- Takes in what the list of tasks knows of one.
---@param task meanwhile.Task
---@param at? string when its end was queued
---@return boolean whether it is a session of this client
function Trace:update(task, at)
  local known = self.tasks[task.id]
  if not known then
    return false
  end
  known.shown = task.shown
  known.endedAt = task.endedAt or known.endedAt
  known.queuedAt = known.queuedAt or at
  return true
end

--- The last number that was seen.
---@return integer
function Trace:last()
  local event = self.events[#self.events]
  return event and event.n or 0
end

--- Takes in the answer to `session/trace`.
---@param result { events: meanwhile.TraceEvent[], tasks: meanwhile.TraceTask[] }
function Trace:fetched(result)
  for _, event in ipairs(result.events) do
    self:add(event)
  end
  for _, task in ipairs(result.tasks) do
    self.tasks[task.taskId] = task
  end
end

--- When each call began, by its number.
---@return table<integer, number> milliseconds since 1970
function Trace:starts()
  local starts = {}
  for _, event in ipairs(self.events) do
    if event.type == "call_started" then
      starts[event.call] = format.time(event.at)
    end
  end
  return starts
end

--- Follows a session's trace: fetches it and takes in what is pushed, until `off` is called.
---@param workspace meanwhile.Workspace
---@param id string
---@param changed fun(err?: meanwhile.Error)
---@return meanwhile.Trace trace
---@return fun() off
function M.follow(workspace, id, changed)
  local trace = M.trace(id)
  local function fetch()
    workspace:request("session/trace", {
      sessionId = id,
      after = trace:last(),
    }, function(err, result)
      if result then
        trace:fetched(result)
      end
      changed(err)
    end, { again = true })
  end
  local offs = {
    workspace:on("session", function(method, params)
      if method == "session/traced" and params.sessionId == id then
        trace:add(params.event)
        changed()
      end
    end),
    workspace:on("exited", function(task, notification)
      if trace:update(task, notification and notification.at) then
        changed()
      end
    end),
    workspace:on("ready", fetch),
  }
  fetch()
  return trace, function()
    for _, off in ipairs(offs) do
      off()
    end
  end
end

---@param err meanwhile.Error
local function failed(err)
  if not err.told then
    tell.fault(M.explain(err))
  end
end

---@class meanwhile.SessionInfo
---@field sessionId string
---@field cwd string
---@field title? string
---@field updatedAt? string

---@type table<string, meanwhile.SessionInfo[]> by root, as they were listed last
local listed = {}

--- The sessions of a workspace, the newest first.
---@param workspace meanwhile.Workspace
---@param done fun(sessions?: meanwhile.SessionInfo[], err?: meanwhile.Error)
function M.list(workspace, done)
  workspace:request("session/list", { cwd = workspace.root }, function(err, result)
    if result then
      listed[workspace.root] = result.sessions
    end
    done(result and result.sessions, err)
  end, { again = true })
end

--- Ids of sessions for the command line. Waits a moment, and only where a daemon runs.
---@param workspace meanwhile.Workspace
---@param lead string
---@return string[]
function M.complete(workspace, lead)
  if workspace.connection.state == "ready" then
    local there = false
    M.list(workspace, function()
      there = true
    end)
    vim.wait(300, function()
      return there
    end, 5)
  end
  local ids = {}
  for _, session in ipairs(listed[workspace.root] or {}) do
    if vim.startswith(session.sessionId, lead) then
      table.insert(ids, session.sessionId)
    end
  end
  return ids
end

--- Lets the person choose a session.
---@param workspace meanwhile.Workspace
---@param done fun(id: string)
function M.choose(workspace, done)
  M.list(workspace, function(sessions, err)
    if err then
      return failed(err)
    elseif not sessions or #sessions == 0 then
      return tell.info("no sessions yet: `:Meanwhile chat` starts one")
    end
    vim.ui.select(sessions, {
      prompt = "Session",
      format_item = function(session)
        local title = session.title and format.one_line(session.title) or "without a title"
        local time = format.time(session.updatedAt)
        local ago = time and format.duration(format.now() - time) .. " ago" or ""
        return ("%s  %s  %s"):format(session.sessionId:sub(1, 8), title, ago)
      end,
    }, function(session)
      if session then
        done(session.sessionId)
      end
    end)
  end)
end

--- The whole id of one whose beginning is given.
---@param workspace meanwhile.Workspace
---@param word string
---@param done fun(id: string)
function M.resolve(workspace, word, done)
  if #word == 36 then
    return done(word)
  end
  M.list(workspace, function(sessions, err)
    if err then
      return failed(err)
    end
    for _, session in ipairs(sessions or {}) do
      if vim.startswith(session.sessionId, word) then
        return done(session.sessionId)
      end
    end
    tell.warn(("no session `%s` in this workspace"):format(word))
  end)
end

--- An error in words that say what to do.
---@param err meanwhile.Error
---@return string
function M.explain(err)
  if err.code == -32601 then
    return "this `meanwhile` has no agent: update it, or set `vim.g.meanwhile.binary` to a newer one"
  elseif err.code == 1006 and not err.message:find("MEANWHILE_MODEL") then
    return err.message
      .. " (set MEANWHILE_MODEL and a key before Neovim starts, or in "
      .. "`vim.g.meanwhile.env`)"
  end
  return err.message
end

return M
