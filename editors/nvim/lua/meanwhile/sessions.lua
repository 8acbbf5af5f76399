--- Lists the agent sessions of a workspace and follows their timelines. The conversation of a session is
--- in `transcript.lua`, its window in `ui/chat.lua`.

local format = require("meanwhile.format")
local tell = require("meanwhile.tell")

local M = {}

---@class meanwhile.Timeline_ the daemon's pieces, in the order in which their keys first came
---@field pieces meanwhile.Piece[]
---@field legend { look: string, label: string }[]
---@field recorded? boolean

--- Follows the timeline of a session, or of the workspace's tasks: fetches it and applies changes, until
--- `off` is called.
---@param workspace meanwhile.Workspace
---@param id? string
---@param changed fun(err?: meanwhile.Error)
---@return meanwhile.Timeline_ timeline
---@return fun() off
function M.follow(workspace, id, changed)
  local timeline, places = { pieces = {}, legend = {} }, {}
  local asking, stale = false, false
  --- Stores pieces, each instead of the earlier one with its key.
  local function take(pieces)
    for _, piece in ipairs(pieces) do
      places[piece.key] = places[piece.key] or #timeline.pieces + 1
      timeline.pieces[places[piece.key]] = piece
    end
  end
  local function fetch()
    stale = asking
    if asking then
      return
    end
    asking = true
    local method, params = "task/timeline", {}
    if id then
      method, params = "session/trace", { sessionId = id, timeline = true }
    end
    workspace:request(method, params, function(err, result)
      asking = false
      if result then
        local whole = id and result.timeline or result
        timeline.pieces, timeline.legend, timeline.recorded = {}, whole.legend, whole.recorded
        places = {}
        take(whole.pieces)
      end
      changed(err)
      if stale then
        fetch()
      end
    end, { again = true })
  end
  local offs = {
    workspace:on("session", function(method, params)
      if method == "session/timeline" and params.sessionId == id then
        take(params.pieces)
        changed()
      end
    end),
    workspace:on("ready", fetch),
    id and function() end or workspace:on("tasks", fetch),
  }
  fetch()
  return timeline, function()
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

---@param workspace meanwhile.Workspace
---@param done fun(sessions?: meanwhile.SessionInfo[], err?: meanwhile.Error) the newest first
function M.list(workspace, done)
  workspace:request("session/list", { cwd = workspace.root }, function(err, result)
    done(result and result.sessions, err)
  end, { again = true })
end

--- Session ids for command-line completion.
---@param workspace meanwhile.Workspace
---@param lead string
---@return string[]
function M.complete(workspace, lead)
  local answer = workspace:await("session/list", { cwd = workspace.root }) or {}
  local ids = vim.tbl_map(function(session)
    return session.sessionId
  end, answer.sessions or {})
  return require("meanwhile.command").fitting(ids, lead)
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

--- Calls `done` with the id of the session that starts with `word`.
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

--- Returns an error's message, with advice if the model is not configured.
---@param err meanwhile.Error
---@return string
function M.explain(err)
  if err.code == 1006 and not err.message:find("MEANWHILE_MODEL") then
    return err.message
      .. " (set MEANWHILE_MODEL and a key before Neovim starts, or in "
      .. "`vim.g.meanwhile.env`)"
  end
  return err.message
end

return M
