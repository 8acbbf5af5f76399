--- The list of tasks: one buffer a workspace, drawn again when something changes and, while something
--- runs and can be seen, each second.

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
---@field tick fun(wanted: boolean) draws each second while that is wanted
local List = {}
List.__index = List

---@type table<string, meanwhile.List>
local lists = {}

--- What a task is called in the list: its label, else that an agent's session started it.
---@param task meanwhile.Task
---@return string?
function M.label(task)
  if task.label then
    return format.one_line(task.label)
  end
  return task.agent and "(agent)" or nil
end

--- Whether a task has the words of a filter, each of them, in its command, label or state,
--- or is of that id.
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
    -- Few letters stand in any id by chance.
    local is_id = #word >= 4 and vim.startswith(task.id, word)
    if not is_id and not text:find(word, 1, true) then
      return false
    end
  end
  return true
end

--- When it ended or began, in words that stay short.
---@param task meanwhile.Task
---@param now number
---@return string
local function when(task, now)
  if not format.ended(task) then
    return ""
  end
  local ago = now - (format.time(task.endedAt) or now)
  return ago < 5000 and "now" or format.duration(ago):gsub(" .*", "") .. " ago"
end

local bar_width = 10

--- Progress as a bar, where a number is known, and what it says of itself.
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
  -- The number stands beside the state already.
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

--- The lines of the list. Pure.
---@param tasks meanwhile.Task[]
---@param opts meanwhile.ListOpts
---@return string[] lines
---@return meanwhile.Span[] spans
---@return string[] rows the task of each line
function M.lines(tasks, opts)
  local lines, spans, rows = {}, {}, {}
  local running, failed, shown = 0, 0, {}
  local states, names, labelled = 8, 4, false
  for _, task in ipairs(tasks) do
    if not format.ended(task) then
      running = running + 1
    elseif format.outcome(task) == "failed" or task.state == "lost" then
      failed = failed + 1
    end
    if M.matches(task, opts.filter) then
      table.insert(shown, task)
      states = math.max(states, #format.state(task))
      names = math.max(names, vim.fn.strdisplaywidth(M.label(task) or ""))
      labelled = labelled or M.label(task) ~= nil
    end
  end
  names = math.min(names, 16)
  -- What a narrow window has no room for: the id, when it ended, and a label beside its command.
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
    add(" " .. format.pad(format.cut(format.state(task), states), states), group)
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
      -- The bar alone: three letters of a message say nothing.
      progress = progress:match("^%S*") --[[@as string]]
    end
    local tail = wide and "  " .. task.id or ""
    local room = opts.width - vim.fn.strdisplaywidth(text) - #tail - 3
    local command = format.one_line(not wide and task.label or task.command)
    if progress ~= "" then
      progress = format.cut(progress, math.max(0, math.min(36, math.floor(room / 2))))
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
  -- What stands here has been seen.
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
  -- The cursor stays on its task, wherever that went.
  if here then
    for row, id in pairs(rows) do
      if id == here then
        local at = vim.api.nvim_win_get_cursor(win)
        pcall(vim.api.nvim_win_set_cursor, win, { row, at[2] })
      end
    end
  end
  local runs = false
  for _, task in ipairs(self.workspace:sorted()) do
    runs = runs or not format.ended(task)
  end
  self.tick(runs)
end

---@private
---@param win? integer
---@return string?
function List:current_id(win)
  win = win or vim.fn.win_findbuf(self.buf)[1]
  local row = win and vim.api.nvim_win_get_cursor(win)[1]
  return row and self.rows[row]
end

--- The tasks under the cursor, or those of the selected lines.
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

---@private
---@param fn fun(task: meanwhile.Task)
---@return fun()
function List:each(fn)
  return function()
    for _, task in ipairs(self:selected()) do
      fn(task)
    end
  end
end

local failed = tell.failure

--- Everything that is known of a task, in a small window.
---@param task meanwhile.Task
function M.details(task)
  local rows = {
    { "command", format.one_line(task.command) },
    { "id", task.id },
    { "state", format.state(task) },
    { "directory", task.cwd },
    { "queue", task.queue },
    { "pid", task.pid },
    { "began", task.createdAt },
    { "ended", task.endedAt },
    { "took", format.duration(format.elapsed(task)) },
    { "output", format.bytes(task.output.total) },
    { "cause", task.cause and ("%s: %s"):format(task.cause.actor, task.cause.message) },
    { "delivered", task.delivered and ("%s by %s"):format(task.delivered.at, task.delivered.by) },
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

---@private
function List:map()
  local workspace = self.workspace
  local keys = {
    {
      { "<CR>", "o" },
      self:each(function(task)
        require("meanwhile.ui.output").open(workspace, task.id)
      end),
      "open the output",
    },
    {
      "x",
      self:each(function(task)
        if format.ended(task) then
          return tell.info(("%s has ended: %s"):format(format.name(task), format.state(task)))
        end
        workspace:stop(task.id, nil, function(err)
          -- It may have ended meanwhile.
          if not err or err.code ~= 1004 then
            failed(err)
          end
        end)
      end),
      "stop, with all it started",
    },
    {
      "r",
      self:each(function(task)
        require("meanwhile.actions").restart(workspace, task, failed)
      end),
      "run again (stops it first)",
    },
    {
      "Q",
      self:each(function(task)
        require("meanwhile.quickfix").fill(workspace, task.id)
      end),
      "fill the quickfix list",
    },
    { { "K", "i" }, self:each(M.details), "show details" },
    {
      "y",
      self:each(function(task)
        vim.fn.setreg(vim.v.register, task.id)
        tell.info("copied " .. task.id)
      end),
      "copy the id",
    },
    {
      "dd",
      self:each(function(task)
        if format.ended(task) then
          workspace:remove({ task.id }, failed)
        else
          tell.warn("a running task is not removed; x stops it")
        end
      end),
      "forget a finished task",
    },
    {
      "D",
      function()
        require("meanwhile.actions").clear(workspace)
      end,
      "forget all finished tasks",
    },
    {
      "f",
      function()
        vim.ui.input({ prompt = "Show tasks with: ", default = self.filter }, function(text)
          if text then
            self.filter = vim.trim(text)
            self:draw()
          end
        end)
      end,
      "filter",
    },
    {
      "t",
      function()
        require("meanwhile.ui.timeline").open(workspace)
      end,
      "open the timeline",
    },
    {
      "R",
      function()
        workspace:refresh(failed)
      end,
      "fetch again",
    },
    {
      "q",
      function()
        view.close(self.buf)
      end,
      "close",
    },
  }
  view.map(self.buf, "Tasks", keys)
  for _, lhs in ipairs({ "x", "y", "r" }) do
    for _, key in ipairs(keys) do
      if key[1] == lhs then
        vim.keymap.set("x", lhs, key[2], { buffer = self.buf, nowait = true, desc = key[3] })
      end
    end
  end
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
    local group = vim.api.nvim_create_augroup("meanwhile-list-" .. self.buf, { clear = true })
    vim.api.nvim_create_autocmd({ "BufWinEnter", "WinResized", "WinEnter" }, {
      group = group,
      callback = function(event)
        if event.event == "WinResized" or event.buf == self.buf then
          vim.schedule(draw)
        end
      end,
    })
    vim.api.nvim_create_autocmd("BufWipeout", {
      group = group,
      buffer = self.buf,
      callback = function()
        self.tick(false)
        for _, off in ipairs(offs) do
          off()
        end
        lists[workspace.root] = nil
        vim.api.nvim_del_augroup_by_id(group)
      end,
    })
  end
  local win = view.show(self.buf, config.get().list.open)
  vim.wo[win].cursorline = true
  self:draw()
  -- The first task rather than the title.
  if vim.api.nvim_win_get_cursor(win)[1] == 1 then
    pcall(vim.api.nvim_win_set_cursor, win, { 2, 0 })
  end
  workspace:refresh(failed)
end

return M
