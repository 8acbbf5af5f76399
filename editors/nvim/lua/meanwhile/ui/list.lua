--- The list of tasks: one buffer for each workspace, redrawn at each change and, while it is visible and a
--- task runs, every second.

local actions = require("meanwhile.actions")
local config = require("meanwhile.config")
local format = require("meanwhile.format")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@class meanwhile.List
---@field workspace meanwhile.Workspace
---@field buf integer
---@field rows string[] task ids by line
---@field filter string
---@field tick fun(wanted: boolean) starts or stops redrawing every second
local List = {}
List.__index = List

---@type table<string, meanwhile.List>
local lists = {}

--- The label of a task in the list; without one, `(agent)` if an agent started it.
---@param task meanwhile.Task
---@return string?
function M.label(task)
  if task.label then
    return format.one_line(task.label)
  end
  return task.agent and "(agent)" or nil
end

--- Whether each word of a filter is in the task's command, label or state, or is the start of its id.
---@param task meanwhile.Task
---@param filter string
---@return boolean
function M.matches(task, filter)
  local text = table.concat({
    M.label(task) or "",
    task.command,
    format.state(task),
    format.outcome(task),
  }, " ")
  text = text:lower()
  for word in filter:lower():gmatch("%S+") do
    -- Shorter words match some id by chance.
    local is_id = #word >= 4 and vim.startswith(task.id, word)
    if not is_id and not text:find(word, 1, true) then
      return false
    end
  end
  return true
end

--- How long ago a task ended, such as `5s ago`; empty while it runs.
---@param task meanwhile.Task
---@param now number
---@return string
local function when(task, now)
  if not format.ended(task) then
    return ""
  end
  local ago = now - (format.time(task.endedAt) or now)
  return ago < 5000 and "now"
    or format.duration(ago):gsub("[ .]%S*", ago < 10000 and "s" or "") .. " ago"
end

local bar_width = 10

--- The state of a task, and the rest of its description: what it waits for, where it runs.
---@param task meanwhile.Task
---@return string state
---@return string rest
local function standing(task)
  local state, rest = format.state(task):match("^([^,]*),? ?(.*)$")
  if task.on and not rest:find(task.on, 1, true) then
    rest = vim.trim("at " .. task.on .. " " .. rest)
  end
  return state, rest
end

--- The progress of a task: a bar if the percentage is known, and its message.
---@param task meanwhile.Task
---@param ascii boolean
---@return string
function M.progress(task, ascii)
  if task.state ~= "running" or not task.progress then
    return ""
  end
  local percent = task.progress.percent
  local message = task.progress.message and format.one_line(task.progress.message) or ""
  if not percent then
    return message
  end
  -- The state already contains the percentage.
  message = vim.trim((message:gsub("[%[%(]?%s*%d+%.?%d*%%[%]%)]?:?", "", 1)))
  local full = math.floor(math.max(0, math.min(100, percent)) / 100 * bar_width + 0.5)
  local on, off = ascii and "#" or "━", ascii and "." or "─"
  return vim.trim(("%s%s %s"):format(on:rep(full), off:rep(bar_width - full), message))
end

---@class meanwhile.ListOpts
---@field now number
---@field width integer
---@field icons "unicode"|"ascii"
---@field filter string
---@field root string
---@field state string

--- Renders the list. Pure.
---@param tasks meanwhile.Task[]
---@param opts meanwhile.ListOpts
---@return string[] lines
---@return meanwhile.Span[] spans
---@return string[] rows the task id of each line
function M.lines(tasks, opts)
  local lines, spans, rows = {}, {}, {}
  local running, failed, shown = 0, 0, {}
  local states, names, labelled = 8, 4, false
  for _, task in ipairs(tasks) do
    if not format.ended(task) then
      running = running + 1
    elseif task.shown.notice == "error" then
      failed = failed + 1
    end
    if M.matches(task, opts.filter) then
      table.insert(shown, task)
      states = math.max(states, #standing(task))
      names = math.max(names, vim.fn.strdisplaywidth(M.label(task) or ""))
      labelled = labelled or M.label(task) ~= nil
    end
  end
  names = math.min(names, 16)
  -- A narrow window leaves out the id, the time since the end, and the label beside the command.
  local wide = opts.width >= 90
  labelled = labelled and wide
  states = math.min(states, math.max(12, math.floor(opts.width * 0.3)))

  local head = (" %s  %d running, %d failed, %d in all"):format(
    vim.fn.fnamemodify(opts.root, wide and ":~" or ":t"),
    running,
    failed,
    #tasks
  )
  if opts.filter ~= "" then
    head = head .. ("  showing %d with “%s”"):format(#shown, opts.filter)
  end
  if opts.state ~= "ready" then
    head = head .. "  (" .. opts.state .. ")"
  end
  table.insert(lines, head)
  table.insert(spans, { 0, 0, -1, "MeanwhileTitle" })

  for _, task in ipairs(shown) do
    local outcome = format.outcome(task)
    local group = format.highlight[outcome]
    local row = #lines
    local text = " "
    local function add(part, hl)
      if hl and part ~= "" then
        table.insert(spans, { row, #text, #text + #part, hl })
      end
      text = text .. part
    end
    add(format.icon(outcome, opts.icons), group)
    local state, rest = standing(task)
    add(" " .. format.pad(format.cut(state, states), states), group)
    add(" " .. format.pad(format.duration(format.elapsed(task, opts.now)), 7, true))
    if opts.width >= 70 then
      add("  " .. format.pad(when(task, opts.now), 7), "MeanwhileDim")
    end
    if labelled then
      local label = format.cut(M.label(task) or "", names)
      add("  " .. format.pad(label, names), "MeanwhileLabel")
    end
    local progress = M.progress(task, opts.icons == "ascii")
    if not wide and task.progress and task.progress.percent then
      -- Only the bar: there is no room for a readable message.
      progress = progress:match("^%S*") --[[@as string]]
    end
    progress = vim.trim(rest .. "  " .. progress)
    local tail = wide and "  " .. task.id or ""
    local room = opts.width - vim.fn.strdisplaywidth(text) - #tail - 3
    local command = format.one_line(not wide and task.label or task.command)
    if progress ~= "" then
      local named = math.max(8, vim.fn.strdisplaywidth(command))
      progress = format.cut(progress, math.max(0, math.floor(room / 2), room - named - 2))
      room = room - vim.fn.strdisplaywidth(progress) - 2
    end
    add("  ")
    add(format.pad(format.cut(command, math.max(8, room)), math.max(8, room)))
    if progress ~= "" then
      add("  " .. progress, "MeanwhileRunning")
    end
    add(tail, "MeanwhileId")
    table.insert(lines, text)
    rows[#lines] = task.id
  end
  if #shown == 0 then
    local nothing = #tasks == 0 and " No tasks yet.  :Meanwhile run COMMAND starts one."
      or " No task matches the filter.  f changes it."
    table.insert(lines, nothing)
    table.insert(spans, { #lines - 1, 0, -1, "MeanwhileDim" })
  end
  return lines, spans, rows
end

---@private
function List:draw()
  if not view.visible(self.buf) then
    return
  end
  -- The person has now seen the failures.
  self.workspace.seen_failures = 0
  local win = assert(vim.fn.win_findbuf(self.buf)[1])
  local here = self:current_id(win)
  local info = vim.fn.getwininfo(win)[1]
  local state = self.workspace.connection.state --[[@as string]]
  if state == "ready" and not self.workspace.fetched then
    state = "loading"
  end
  local lines, spans, rows = M.lines(self.workspace:sorted(), {
    now = format.now(),
    width = info.width - info.textoff,
    icons = config.get().icons,
    filter = self.filter,
    root = self.workspace.root,
    state = state,
  })
  view.render(self.buf, lines, spans)
  self.rows = rows
  -- Keep the cursor on its task.
  if here then
    for row, id in pairs(rows) do
      if id == here then
        local at = vim.api.nvim_win_get_cursor(win)
        pcall(vim.api.nvim_win_set_cursor, win, { row, at[2] })
      end
    end
  end
  local first = self.workspace:sorted()[1]
  self.tick(first ~= nil and not format.ended(first))
end

---@private
---@param win? integer
---@return string?
function List:current_id(win)
  win = win or vim.fn.win_findbuf(self.buf)[1]
  local row = win and vim.api.nvim_win_get_cursor(win)[1]
  return row and self.rows[row]
end

--- The task under the cursor, or the tasks of the selected lines.
---@private
---@return meanwhile.Task[]
function List:selected()
  local first, last = vim.fn.line("."), vim.fn.line(".")
  if vim.fn.mode():match("[vV\22]") then
    first, last = math.min(first, vim.fn.line("v")), math.max(last, vim.fn.line("v"))
    vim.api.nvim_feedkeys(vim.keycode("<Esc>"), "nx", false)
  end
  local tasks = {}
  for row = first, last do
    local task = self.workspace.tasks[self.rows[row] or ""]
    if task then
      table.insert(tasks, task)
    end
  end
  return tasks
end

local failed = tell.failure

--- Formats a time in the local time zone.
---@param text string
---@return string
local function clock(text)
  return os.date("%Y-%m-%d %H:%M:%S", math.floor((format.time(text) or 0) / 1000)) --[[@as string]]
end

--- Shows the details of a task in a small window.
---@param task meanwhile.Task
function M.details(task)
  local lost = task.contact
  local rows = {
    { "command", format.one_line(task.command) },
    { "id", task.id },
    { "state", format.state(task) },
    { "directory", task.cwd },
    { "queue", task.queue },
    { "pid", task.pid },
    { "place", task.on },
    { "warning", task.warning },
    { "no contact", lost and ("since %s: %s"):format(clock(lost.lostSince), lost.reason) },
    { "sign in", lost and lost.needsYou and "meanwhile place connect " .. task.on },
    { "began", clock(task.createdAt) },
    { "ended", task.endedAt and clock(task.endedAt) },
    { "took", format.duration(format.elapsed(task)) },
    { "output", format.bytes(task.output.total) },
    { "cause", task.cause and ("%s: %s"):format(task.cause.actor, task.cause.message) },
  }
  for _, survivor in ipairs(task.survivors or {}) do
    table.insert(rows, {
      "left alive",
      ("%d %s"):format(survivor.pid, format.one_line(survivor.command)),
    })
  end
  local lines, spans = {}, {}
  for _, row in ipairs(rows) do
    if row[2] then
      table.insert(lines, (" %-10s %s"):format(row[1], row[2]))
      table.insert(spans, { #lines - 1, 1, 11, "MeanwhileDim" })
    end
  end
  view.float(task.label or "task " .. task.id, lines, spans)
end

--- Runs an action on the task under the cursor, or on those of the selected lines.
---@param deed string
function List:each(deed)
  for _, task in ipairs(self:selected()) do
    actions.deeds[deed](self.workspace, task)
  end
end

function List:clear()
  actions.clear(self.workspace)
end

function List:ask_filter()
  vim.ui.input({ prompt = "Show tasks with: ", default = self.filter }, function(text)
    if text then
      self.filter = vim.trim(text)
      self:draw()
    end
  end)
end

function List:timeline()
  require("meanwhile.ui.timeline").open(self.workspace)
end

function List:refresh()
  self.workspace:refresh(failed)
end

---@private
function List:map()
  local both = { "n", "x" }
  view.map(self.buf, "Tasks", self, {
    { { "<CR>", "o" }, "each", "open the output", "open" },
    { "x", "each", "stop, with all its processes", "stop", mode = both },
    { "r", "each", "run again (stops it first)", "restart", mode = both },
    { "Q", "each", "fill the quickfix list", "quickfix" },
    { { "K", "i" }, "each", "show details", "details" },
    { "y", "each", "copy the id", "copy", mode = both },
    { "dd", "each", "forget a finished task", "forget" },
    { "D", "clear", "forget all finished tasks" },
    { "f", "ask_filter", "filter" },
    { "t", "timeline", "open the timeline" },
    { "R", "refresh", "fetch again" },
  })
end

--- Opens the list of a workspace.
---@param workspace meanwhile.Workspace
function M.open(workspace)
  local self = lists[workspace.root]
  if not self or not view.whole(self.buf) then
    self = setmetatable({ workspace = workspace, rows = {}, filter = "" }, List)
    self.buf = view.scratch("meanwhile://tasks" .. workspace.root, "meanwhile-list")
    lists[workspace.root] = self
    self:map()
    local function draw()
      self:draw()
    end
    self.tick = view.ticker(self.buf, 1000, draw)
    local offs = { workspace:on("tasks", draw), workspace:on("state", draw) }
    view.follow(self.buf, draw, function()
      self.tick(false)
      for _, off in ipairs(offs) do
        off()
      end
      lists[workspace.root] = nil
    end)
  end
  local win = view.show(self.buf, config.get().list.open)
  vim.wo[win].cursorline = true
  self:draw()
  -- Start on the first task, not on the title.
  if vim.api.nvim_win_get_cursor(win)[1] == 1 then
    pcall(vim.api.nvim_win_set_cursor, win, { 2, 0 })
  end
  workspace:refresh(failed)
end

return M
