--- The timeline: live swim lanes of a session, or of only the workspace's tasks.

local config = require("meanwhile.config")
local format = require("meanwhile.format")
local lanes = require("meanwhile.lanes")
local sessions = require("meanwhile.sessions")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@class meanwhile.Timeline
---@field workspace meanwhile.Workspace
---@field buf integer
---@field timeline meanwhile.Timeline_
---@field played number when the recording started to play
---@field range? { from: number, to: number } folded time; absent: show everything and follow
---@field rows (meanwhile.Lane|false)[]
---@field layout { label: integer, width: integer }
---@field picture meanwhile.Picture
---@field shown { from: number, to: number }
---@field tick fun(wanted: boolean) starts or stops redrawing twice a second
---@field pending boolean
---@field problem? string
local Timeline = {}
Timeline.__index = Timeline

---@type table<string, meanwhile.Timeline> by buffer name
local timelines = {}

local show ---@type fun(workspace: meanwhile.Workspace, session?: string, win?: integer)

--- The pause between the end of a recording and its replay, in milliseconds.
local rest = 4000

--- How far local time is ahead of UTC, in seconds.
---@return number
local function ahead()
  local now = os.time()
  local utc = os.date("!*t", now)
  utc.isdst = os.date("*t", now).isdst
  return os.difftime(now, os.time(utc --[[@as std.osdateparam]]))
end

--- The current time; for a recording, the time within it that is shown.
---@private
---@return number
function Timeline:now()
  local now = format.now()
  if not self.timeline.recorded then
    return now
  end
  local whole = lanes.picture(self.timeline.pieces)
  local length = whole.last - whole.from
  return whole.from + math.min(length, (now - self.played) % (length + rest))
end

---@private
function Timeline:draw()
  self.pending = false
  if not view.visible(self.buf) then
    return
  end
  local now = self:now()
  local picture = lanes.picture(self.timeline.pieces, self.timeline.recorded and now or nil)
  local from, to = lanes.extent(picture, now)
  if self.range then
    from, to = self.range.from, self.range.to
  end
  local win = assert(vim.fn.win_findbuf(self.buf)[1])
  local info = vim.fn.getwininfo(win)[1]
  local lines, spans, rows, layout = lanes.draw(picture, {
    width = info.width - info.textoff,
    from = from,
    to = to,
    now = now,
    icons = config.get().icons,
    offset = ahead(),
  })
  if self.problem then
    table.insert(lines, " " .. self.problem)
    table.insert(spans, { #lines - 1, 0, -1, "MeanwhileNotice" })
  elseif self.timeline.recorded or #picture.lanes == 0 then
    local words = self.timeline.recorded
        and " Nothing has run here yet. This is a recording of `meanwhile demo`."
      or " Nothing yet."
    table.insert(lines, words)
    table.insert(spans, { #lines - 1, 0, -1, "MeanwhileDim" })
  end
  self.picture, self.rows, self.layout = picture, rows, layout
  local room = info.width - info.textoff - 2
  local legend = lanes.legend(self.timeline.legend, picture, config.get().icons, room)
  view.bar(self.buf, legend[1])
  -- The rest of the legend goes below the lanes.
  for i = 2, #legend do
    table.insert(lines, " " .. legend[i])
    table.insert(spans, { #lines - 1, 0, -1, "MeanwhileDim" })
  end
  self.shown = { from = from, to = to }
  local cursor = vim.api.nvim_win_get_cursor(win)
  local column = vim.api.nvim_win_call(win, function()
    return vim.fn.virtcol(".")
  end)
  view.render(self.buf, lines, spans)
  -- Keep the cursor's screen column: the glyphs have several bytes.
  local line = math.min(cursor[1] or 1, #lines)
  local byte = vim.fn.virtcol2col(win, line, math.max(1, column))
  pcall(vim.api.nvim_win_set_cursor, win, { line, math.max(0, byte - 1) })
  self.tick(self.timeline.recorded or not (picture.to or #picture.lanes == 0))
end

--- Redraws soon, once for all changes within 60 ms.
---@private
function Timeline:soon()
  if not self.pending then
    self.pending = true
    vim.defer_fn(function()
      self:draw()
    end, 60)
  end
end

--- The folded time under the cursor.
---@private
---@return number
function Timeline:time()
  local column = vim.fn.virtcol(".") - self.layout.label
  column = math.max(0, math.min(self.layout.width, column - 0.5))
  local span = self.shown.to - self.shown.from
  return self.shown.from + column / self.layout.width * span
end

---@private
---@param factor number
function Timeline:zoom(factor)
  local at = self:time()
  local before, after = at - self.shown.from, self.shown.to - at
  if (before + after) * factor < 200 then
    return
  end
  self.range = { from = at - before * factor, to = at + after * factor }
  self:draw()
end

---@private
---@param part number the share of the shown range to move by
function Timeline:pan(part)
  local by = (self.shown.to - self.shown.from) * part
  self.range = { from = self.shown.from + by, to = self.shown.to + by }
  self:draw()
end

---@private
function Timeline:details()
  local lane = self.rows[vim.fn.line(".")]
  if lane then
    local lines = lanes.describe(self.picture, lane, self:time(), self:now())
    view.float(
      lane.piece.label,
      vim.tbl_map(function(line)
        return " " .. line
      end, lines)
    )
  end
end

--- Moves the cursor to the next or the previous call.
---@private
---@param direction 1|-1
function Timeline:jump(direction)
  local at = self:time()
  local span = self.shown.to - self.shown.from
  local half = span / self.layout.width
  local best, line
  for row, lane in ipairs(self.rows) do
    for _, thing in ipairs(lane and lane.piece.kind == "agent" and lane.things or {}) do
      local away = (lanes.fold(self.picture, thing.from) - at) * direction
      if thing.piece.kind == "call" and away > half and away < (best or math.huge) then
        best, line = away, row
      end
    end
  end
  if best then
    local column = math.floor((at + best * direction - self.shown.from) / span * self.layout.width)
      + 1
    local byte = vim.fn.virtcol2col(0, line, self.layout.label + column)
    vim.api.nvim_win_set_cursor(0, { line, math.max(0, byte - 1) })
  end
end

function Timeline:open_task()
  local lane = self.rows[vim.fn.line(".")]
  if lane and lane.piece.taskId and not self.timeline.recorded then
    require("meanwhile.ui.output").open(self.workspace, lane.piece.taskId)
  else
    self:details()
  end
end

function Timeline:whole()
  self.range = nil
  self:draw()
end

function Timeline:choose()
  local win = vim.api.nvim_get_current_win()
  sessions.choose(self.workspace, function(id)
    show(self.workspace, id, win)
  end)
end

---@private
function Timeline:map()
  view.map(self.buf, "Timeline", self, {
    { "<CR>", "open_task", "open the output of a task" },
    { { "K", "i" }, "details", "describe what is under the cursor" },
    { { "+", "zi" }, "zoom", "zoom in, around the cursor", 0.5 },
    { { "-", "zo" }, "zoom", "zoom out", 2 },
    { { "=", "z0" }, "whole", "show all of it, and follow" },
    { "H", "pan", "earlier", -0.25 },
    { "L", "pan", "later", 0.25 },
    { "]]", "jump", "to the next call of the model", 1 },
    { "[[", "jump", "to the previous call", -1 },
    { "s", "choose", "choose a session" },
  })
end

---@param workspace meanwhile.Workspace
---@param session? string
---@param win? integer where to show it
function show(workspace, session, win)
  local name = "meanwhile://timeline" .. workspace.root .. (session and "#" .. session or "")
  local self = timelines[name]
  if not self or not view.whole(self.buf) then
    self = setmetatable({
      workspace = workspace,
      played = format.now(),
      rows = {},
      picture = lanes.picture({}),
      layout = { label = 0, width = 1 },
      shown = { from = 0, to = 1 },
      pending = false,
    }, Timeline)
    self.buf = view.scratch(name, "meanwhile-timeline")
    timelines[name] = self
    self:map()
    local function soon()
      self:soon()
    end
    self.tick = view.ticker(self.buf, 500, function()
      self:draw()
    end)
    local off
    self.timeline, off = sessions.follow(workspace, session, function(err)
      self.problem = err and sessions.explain(err)
      soon()
    end)
    view.follow(self.buf, soon, function()
      self.tick(false)
      off()
      timelines[name] = nil
    end)
  end
  if win and vim.api.nvim_win_is_valid(win) then
    vim.api.nvim_win_set_buf(win, self.buf)
    view.plain(win)
  else
    view.show(self.buf, config.get().timeline.open)
  end
  self:draw()
end

--- Opens the timeline of the session named, else of the chat's session, else of the tasks.
---@param workspace meanwhile.Workspace
---@param word? string the id of a session or its first characters; `tasks`: only tasks
function M.open(workspace, word)
  if word and word ~= "tasks" then
    return sessions.resolve(workspace, word, function(id)
      show(workspace, id)
    end)
  end
  local current = not word and require("meanwhile.ui.chat").current(workspace)
  show(workspace, current or nil)
  workspace:refresh(tell.failure)
end

return M
