--- The timeline: swim lanes of a session, or of the workspace's tasks alone, live.

local config = require("meanwhile.config")
local format = require("meanwhile.format")
local lanes = require("meanwhile.lanes")
local sessions = require("meanwhile.sessions")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@class meanwhile.Timeline
---@field workspace meanwhile.Workspace
---@field session? string
---@field buf integer
---@field trace? meanwhile.Trace
---@field range? { from: number, to: number } absent: all of it, and it follows
---@field rows table[]
---@field layout { label: integer, width: integer }
---@field chart meanwhile.Chart
---@field shown { from: number, to: number }
---@field tick fun(wanted: boolean) draws often while that is wanted
---@field pending boolean
---@field problem? string
local Timeline = {}
Timeline.__index = Timeline

---@type table<string, meanwhile.Timeline> by name of the buffer
local timelines = {}

--- Without a session what is older than this is out of the picture at first, in milliseconds.
local recent = 30 * 60000
--- Without a session the newest tasks are shown, at most so many.
local most_tasks = 60

--- How far local time is ahead of UTC, in seconds.
---@return number
local function ahead()
  local now = os.time()
  local utc = os.date("!*t", now)
  utc.isdst = os.date("*t", now).isdst
  return os.difftime(now, os.time(utc --[[@as std.osdateparam]]))
end

---@private
---@param now number
---@return meanwhile.Chart
function Timeline:charted(now)
  if self.trace then
    return lanes.of_trace(self.trace)
  end
  local tasks = {}
  for _, task in ipairs(self.workspace:sorted()) do
    local at = format.time(task.endedAt) or now
    if #tasks < most_tasks and (self.range or now - at < recent or #tasks == 0) then
      table.insert(tasks, task)
    end
  end
  return lanes.of_tasks(tasks)
end

---@private
function Timeline:draw()
  self.pending = false
  if not view.visible(self.buf) then
    return
  end
  local now = format.now()
  local chart = self:charted(now)
  local from, to = lanes.extent(chart, now)
  if self.range then
    from, to = self.range.from, self.range.to
  end
  local win = assert(vim.fn.win_findbuf(self.buf)[1])
  local info = vim.fn.getwininfo(win)[1]
  local lines, spans, rows, layout = lanes.draw(chart, {
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
  elseif #chart.tasks == 0 and #chart.calls == 0 then
    table.insert(lines, " Nothing yet.")
    table.insert(spans, { #lines - 1, 0, -1, "MeanwhileDim" })
  end
  self.chart, self.rows, self.layout = chart, rows, layout
  view.bar(self.buf, lanes.legend(config.get().icons, chart.agent))
  self.shown = { from = from, to = to }
  local cursor = vim.api.nvim_win_get_cursor(win)
  local column = vim.api.nvim_win_call(win, function()
    return vim.fn.virtcol(".")
  end)
  view.render(self.buf, lines, spans)
  -- A glyph is several bytes: the cursor keeps its place on the screen.
  local line = math.min(cursor[1] or 1, #lines)
  local byte = vim.fn.virtcol2col(win, line, math.max(1, column))
  pcall(vim.api.nvim_win_set_cursor, win, { line, math.max(0, byte - 1) })
  self.tick(self:live())
end

--- Draws soon, many changes at once.
---@private
function Timeline:soon()
  if not self.pending then
    self.pending = true
    vim.defer_fn(function()
      self:draw()
    end, 60)
  end
end

---@private
---@return boolean
function Timeline:live()
  for _, part in ipairs({ self.chart.tasks, self.chart.turns }) do
    for _, span in ipairs(part) do
      if not span.to then
        return true
      end
    end
  end
  return false
end

--- The time under the cursor.
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
---@param part number of what is shown
function Timeline:pan(part)
  local by = (self.shown.to - self.shown.from) * part
  self.range = { from = self.shown.from + by, to = self.shown.to + by }
  self:draw()
end

--- The call at the time under the cursor, or the nearest.
---@private
---@return meanwhile.ChartCall?
function Timeline:call()
  local at = self:time()
  local best, distance
  for _, call in ipairs(self.chart.calls) do
    local to = call.to or format.now()
    local away = at < call.from and call.from - at or at > to and at - to or 0
    if not distance or away < distance then
      best, distance = call, away
    end
  end
  return best
end

---@private
function Timeline:details()
  local row = self.rows[vim.fn.line(".")]
  local now = format.now()
  if row and row.kind == "task" then
    local lines = lanes.describe_task(row.task, now)
    view.float(
      "task",
      vim.tbl_map(function(line)
        return " " .. line
      end, lines)
    )
  elseif row and row.kind == "agent" then
    local call = self:call()
    if call then
      view.float(
        "agent",
        vim.tbl_map(function(line)
          return " " .. line
        end, lanes.describe_call(call, now))
      )
    end
  end
end

--- Moves the cursor to the next or the previous call.
---@private
---@param direction 1|-1
function Timeline:jump(direction)
  local at = self:time()
  local half = (self.shown.to - self.shown.from) / self.layout.width
  local best
  for _, call in ipairs(self.chart.calls) do
    local ahead_of = direction == 1 and call.from > at + half or call.from < at - half
    local nearer = not best or (direction == 1 and call.from < best.from)
    if ahead_of and (nearer or direction == -1) then
      best = call
    end
  end
  if not best then
    return
  end
  local span = self.shown.to - self.shown.from
  local column = math.floor((best.from - self.shown.from) / span * self.layout.width) + 1
  local lane
  for line, row in ipairs(self.rows) do
    lane = row.kind == "agent" and line or lane
  end
  if lane then
    local byte = vim.fn.virtcol2col(0, lane, self.layout.label + column)
    vim.api.nvim_win_set_cursor(0, { lane, math.max(0, byte - 1) })
  end
end

---@private
function Timeline:map()
  view.map(self.buf, "Timeline", {
    {
      "<CR>",
      function()
        local row = self.rows[vim.fn.line(".")]
        if row and row.kind == "task" then
          require("meanwhile.ui.output").open(self.workspace, row.task.id)
        else
          self:details()
        end
      end,
      "open the output of a task",
    },
    {
      { "K", "i" },
      function()
        self:details()
      end,
      "say what is under the cursor",
    },
    {
      { "+", "zi" },
      function()
        self:zoom(0.5)
      end,
      "zoom in, around the cursor",
    },
    {
      { "-", "zo" },
      function()
        self:zoom(2)
      end,
      "zoom out",
    },
    {
      { "=", "z0" },
      function()
        self.range = nil
        self:draw()
      end,
      "show all of it, and follow",
    },
    {
      "H",
      function()
        self:pan(-0.25)
      end,
      "earlier",
    },
    {
      "L",
      function()
        self:pan(0.25)
      end,
      "later",
    },
    {
      "]]",
      function()
        self:jump(1)
      end,
      "to the next call of the model",
    },
    {
      "[[",
      function()
        self:jump(-1)
      end,
      "to the call before",
    },
    {
      "s",
      function()
        sessions.choose(self.workspace, function(id)
          M.open(self.workspace, id)
        end)
      end,
      "choose a session",
    },
    {
      "q",
      function()
        view.close(self.buf)
      end,
      "close",
    },
  })
end

---@param workspace meanwhile.Workspace
---@param session? string
local function show(workspace, session)
  local name = "meanwhile://timeline" .. workspace.root .. (session and "#" .. session or "")
  local self = timelines[name]
  if not self or not view.whole(self.buf) then
    self = setmetatable({
      workspace = workspace,
      session = session,
      rows = {},
      chart = { agent = false, calls = {}, turns = {}, tasks = {} },
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
    local offs = { workspace:on("tasks", soon) }
    if session then
      local trace, off = sessions.follow(workspace, session, function(err)
        self.problem = err and sessions.explain(err)
        soon()
      end)
      self.trace = trace
      table.insert(offs, off)
    end
    local group = vim.api.nvim_create_augroup("meanwhile-timeline-" .. self.buf, { clear = true })
    vim.api.nvim_create_autocmd({ "WinResized", "BufWinEnter" }, { group = group, callback = soon })
    vim.api.nvim_create_autocmd("BufWipeout", {
      group = group,
      buffer = self.buf,
      callback = function()
        self.tick(false)
        for _, off in ipairs(offs) do
          off()
        end
        timelines[name] = nil
        vim.api.nvim_del_augroup_by_id(group)
      end,
    })
  end
  local win = view.show(self.buf, config.get().timeline.open)
  vim.wo[win].cursorline = false
  self:draw()
end

--- Opens a timeline: of the session that is named, else of the chat that is open, else of the tasks.
---@param workspace meanwhile.Workspace
---@param word? string a session or the beginning of one; `tasks`: without a session
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
