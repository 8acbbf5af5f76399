--- Swim lanes in box characters: time from left to right, one lane for the agent and one for each
--- task. Pure: a chart and a window of time in, lines, colours and what stands where out.
---
--- A result's way is the whole point: its task's bar, the time it waits in the queue, and the call of
--- the model that it entered with.

local format = require("meanwhile.format")

local M = {}

---@class meanwhile.Span_ a stretch of time, in milliseconds since 1970
---@field from number
---@field to? number open where it goes on

---@class meanwhile.ChartCall: meanwhile.Span_
---@field call integer
---@field ended? meanwhile.TraceEvent
---@field carried string[] ids of the tasks whose results it carried
---@field asked string[] what its answer asked for

---@class meanwhile.ChartTurn: meanwhile.Span_
---@field origin string
---@field title? string

---@class meanwhile.ChartTask: meanwhile.Span_
---@field id string
---@field name string
---@field outcome meanwhile.Outcome
---@field state string
---@field queued? number
---@field delivered? number
---@field by? string
---@field call? integer the call it entered with
---@field spawned? integer the call that asked for it

---@class meanwhile.Chart
---@field agent boolean whether there is a lane for the agent
---@field calls meanwhile.ChartCall[]
---@field turns meanwhile.ChartTurn[]
---@field tasks meanwhile.ChartTask[]

---@param a meanwhile.ChartTask
---@param b meanwhile.ChartTask
---@return boolean
local function earlier(a, b)
  return a.from == b.from and a.id < b.id or a.from < b.from
end

--- The chart of a session.
---@param trace meanwhile.Trace
---@return meanwhile.Chart
function M.of_trace(trace)
  local chart = { agent = true, calls = {}, turns = {}, tasks = {} }
  local calls = {}
  for _, event in ipairs(trace.events) do
    local at = format.time(event.at)
    if event.type == "turn_started" then
      table.insert(chart.turns, { from = at, origin = event.origin, title = event.title })
    elseif event.type == "turn_ended" and #chart.turns > 0 then
      chart.turns[#chart.turns].to = at
    elseif event.type == "resumed" then
      -- What ran when the daemon died did not end by itself.
      local function close(last)
        if last and not last.to then
          last.to = at
        end
      end
      close(chart.turns[#chart.turns])
      close(chart.calls[#chart.calls])
    elseif event.type == "call_started" then
      local call = { call = event.call, from = at, carried = {}, asked = {} }
      calls[event.call] = call
      table.insert(chart.calls, call)
    elseif event.type == "call_ended" and calls[event.call] then
      calls[event.call].to, calls[event.call].ended = at, event
    elseif event.type == "tool_started" and calls[event.call] then
      table.insert(calls[event.call].asked, event.title or event.name)
    elseif event.type == "delivered" and calls[event.call] then
      table.insert(calls[event.call].carried, event.taskId)
    end
  end
  for _, task in pairs(trace.tasks) do
    local call = task.deliveredInCall and calls[task.deliveredInCall]
    ---@cast task meanwhile.Task|meanwhile.TraceTask
    table.insert(chart.tasks, {
      id = task.taskId,
      name = format.name(task),
      outcome = format.outcome(task),
      state = format.state(task),
      from = format.time(task.spawnedAt) or 0,
      to = format.time(task.endedAt),
      queued = format.time(task.queuedAt) or format.time(task.endedAt),
      delivered = call and call.from or nil,
      call = task.deliveredInCall,
      by = task.deliveredBy,
      spawned = task.spawnedInCall,
    })
  end
  table.sort(chart.tasks, earlier)
  return chart
end

--- The chart of tasks without a session: what the list knows.
---@param tasks meanwhile.Task[]
---@return meanwhile.Chart
function M.of_tasks(tasks)
  local chart = { agent = false, calls = {}, turns = {}, tasks = {} }
  for _, task in ipairs(tasks) do
    local ended = format.time(task.endedAt)
    table.insert(chart.tasks, {
      id = task.id,
      name = format.name(task),
      outcome = format.outcome(task),
      state = format.state(task),
      from = format.time(task.createdAt) or 0,
      to = ended,
      queued = ended,
      delivered = task.delivered and format.time(task.delivered.at) or nil,
      by = task.delivered and task.delivered.by or nil,
    })
  end
  table.sort(chart.tasks, earlier)
  return chart
end

--- The time a chart takes up.
---@param chart meanwhile.Chart
---@param now number
---@return number from
---@return number to
function M.extent(chart, now)
  local from, to
  local function take(at)
    if at then
      from, to = math.min(from or at, at), math.max(to or at, at)
    end
  end
  for _, part in ipairs({ chart.calls, chart.turns, chart.tasks }) do
    for _, span in ipairs(part) do
      take(span.from)
      take(span.to or now)
      take(span.delivered)
    end
  end
  if not from then
    return now - 60000, now
  end
  -- Room on both sides, so that nothing sticks to an edge.
  local room = math.max(500, (to - from) * 0.02)
  return from - room, to + room
end

local second, minute, hour, day = 1000, 60000, 3600000, 86400000
local steps = {
  100,
  200,
  500,
  second,
  2 * second,
  5 * second,
  10 * second,
  15 * second,
  30 * second,
  minute,
  2 * minute,
  5 * minute,
  10 * minute,
  15 * minute,
  30 * minute,
  hour,
  2 * hour,
  6 * hour,
  12 * hour,
  day,
  7 * day,
}

---@class meanwhile.Glyphs
local glyphs = {
  unicode = {
    tick = "┬",
    axis = "─",
    now = "▾",
    call = "┃",
    calling = "━",
    turn = "─",
    carried = "◆",
    error = "╳",
    first = "├",
    bar = "─",
    ok = "┤",
    failed = "✗",
    stopped = "■",
    lost = "?",
    running = "▸",
    queue = "┄",
    drain = "◆",
    single = "│",
  },
  ascii = {
    tick = "+",
    axis = "-",
    now = "v",
    call = "|",
    calling = "=",
    turn = "-",
    carried = "@",
    error = "!",
    first = "[",
    bar = "=",
    ok = "]",
    failed = "x",
    stopped = "#",
    lost = "?",
    running = ">",
    queue = ".",
    drain = "@",
    single = "|",
  },
}

--- What the signs mean, in one line.
---@param icons "unicode"|"ascii"
---@param agent boolean whether there is a lane of the agent
---@return string
function M.legend(icons, agent)
  local set = glyphs[icons]
  local task = set.first .. set.bar .. set.ok .. " runs"
  if not agent then
    return ("%s · %s its result was taken"):format(task, set.drain)
  end
  local parts = {
    set.call .. set.calling .. " model call",
    task,
    set.queue .. " result waits",
    set.drain .. " it enters",
  }
  return table.concat(parts, " · ")
end

---@class meanwhile.LanesOpts
---@field width integer columns in all
---@field from number
---@field to number
---@field now number
---@field icons? "unicode"|"ascii"
---@field offset? number seconds that local time is ahead of UTC

--- Cells of one lane, to be joined.
---@param width integer
local function row(width)
  local cells, groups = {}, {}
  for i = 1, width do
    cells[i], groups[i] = " ", false
  end
  return {
    put = function(column, glyph, group)
      if column >= 1 and column <= width then
        cells[column], groups[column] = glyph, group
      end
    end,
    cells = cells,
    groups = groups,
  }
end

---@param at number
---@param step number
---@param offset number
---@return string
local function clock(at, step, offset)
  local of_day = (math.floor(at / 1000) + offset) % 86400
  local text = ("%02d:%02d"):format(math.floor(of_day / 3600), math.floor(of_day % 3600 / 60))
  if step < minute then
    text = text .. (":%02d"):format(of_day % 60)
  end
  if step < second then
    text = text .. (".%d"):format(math.floor(at % 1000 / 100))
  end
  return text
end

--- Draws a chart.
---@param chart meanwhile.Chart
---@param opts meanwhile.LanesOpts
---@return string[] lines
---@return meanwhile.Span[] spans
---@return { kind: "axis"|"agent"|"task", task?: meanwhile.ChartTask }[] rows what each line is
---@return { label: integer, width: integer } layout columns of the names, and of the lanes
function M.draw(chart, opts)
  local set = glyphs[opts.icons or "unicode"]
  local label = 5
  for _, task in ipairs(chart.tasks) do
    label = math.max(label, vim.fn.strdisplaywidth(task.name))
  end
  label = math.min(label, math.max(8, math.floor(opts.width * 0.22)))
  local width = math.max(10, opts.width - label - 3)
  local span = math.max(1, opts.to - opts.from)
  ---@param at number
  local function column(at)
    return math.floor((at - opts.from) / span * width) + 1
  end
  local lines, spans, rows = {}, {}, {}

  ---@param name string
  ---@param group string?
  ---@param cells table
  ---@param what table
  local function emit(name, group, cells, what)
    local head = " " .. format.pad(format.cut(name, label), label) .. " "
    local text, at = { head }, #head
    local line = #lines
    if group then
      table.insert(spans, { line, 1, #head, group })
    end
    local first, current
    for i = 1, width do
      local cell = cells.cells[i]
      if cells.groups[i] ~= current then
        if current then
          table.insert(spans, { line, first, at, current })
        end
        first, current = at, cells.groups[i]
      end
      text[#text + 1] = cell
      at = at + #cell
    end
    if current then
      table.insert(spans, { line, first, at, current })
    end
    table.insert(lines, (table.concat(text):gsub("%s+$", "")))
    table.insert(rows, what)
  end

  -- The axis: times above, ticks below.
  local step = steps[#steps]
  for _, candidate in ipairs(steps) do
    if candidate / span * width >= 12 then
      step = candidate
      break
    end
  end
  local offset = opts.offset or 0
  local times, axis = row(width), row(width)
  for i = 1, width do
    axis.put(i, set.axis, "MeanwhileAxis")
  end
  local at = math.ceil((opts.from + offset * 1000) / step) * step - offset * 1000
  while at <= opts.to do
    local c = column(at)
    axis.put(c, set.tick, "MeanwhileAxis")
    local text = clock(at, step, offset)
    if c + #text <= width then
      for i = 1, #text do
        times.put(c + i - 1, text:sub(i, i), "MeanwhileAxis")
      end
    end
    at = at + step
  end
  if opts.now >= opts.from and opts.now <= opts.to then
    axis.put(math.min(width, column(opts.now)), set.now, "MeanwhileNow")
  end
  emit("", nil, times, { kind = "axis" })
  emit("", nil, axis, { kind = "axis" })

  -- The agent: turns as a thin line, calls as a thick one, and where results came in.
  if chart.agent then
    local numbers, lane = row(width), row(width)
    for _, turn in ipairs(chart.turns) do
      for i = math.max(1, column(turn.from)), math.min(width, column(turn.to or opts.now)) do
        lane.put(i, set.turn, "MeanwhileDim")
      end
    end
    local free = 1
    for _, call in ipairs(chart.calls) do
      local first, last = column(call.from), column(call.to or opts.now)
      for i = math.max(1, first), math.min(width, last) do
        lane.put(i, set.calling, "MeanwhileCall")
      end
      if call.ended and call.ended.error then
        lane.put(last, set.error, "MeanwhileFailed")
      end
      local carried = #call.carried > 0
      lane.put(
        first,
        carried and set.carried or set.call,
        carried and "MeanwhileDrain" or "MeanwhileCall"
      )
      local text = tostring(call.call)
      if first >= free and first >= 1 and first + #text - 1 <= width then
        for i = 1, #text do
          numbers.put(first + i - 1, text:sub(i, i), carried and "MeanwhileDrain" or "MeanwhileDim")
        end
        free = first + #text + 1
      end
    end
    emit("call", "MeanwhileDim", numbers, { kind = "agent" })
    emit("agent", "MeanwhileAgent", lane, { kind = "agent" })
  end

  for _, task in ipairs(chart.tasks) do
    local lane = row(width)
    local group = format.highlight[task.outcome]
    local first, last = column(task.from), column(task.to or opts.now)
    for i = math.max(1, first), math.min(width, last) do
      lane.put(i, set.bar, group)
    end
    lane.put(first, set.first, group)
    if not task.to then
      lane.put(math.min(width, last), set.running, group)
    else
      local queued = task.queued or task.to
      local until_ = task.delivered or opts.now
      -- What waits for a person who never drains is not worth a line for days.
      if task.delivered or chart.agent then
        for i = math.max(last + 1, column(queued)), math.min(width, column(until_)) do
          lane.put(i, set.queue, "MeanwhileQueue")
        end
      end
      local glyph = ({ ok = set.ok, stopped = set.stopped, lost = set.lost })[task.outcome]
        or set.failed
      if first == last and task.outcome == "ok" then
        glyph = set.single
      end
      local drain = task.delivered and column(task.delivered)
      if drain and drain <= last and last > first then
        -- A result that came in at once: both are seen, and the diamond stands below the call's.
        last = drain - 1
      end
      lane.put(last, glyph, group)
      if drain then
        lane.put(math.max(drain, last + 1), set.drain, "MeanwhileDrain")
      end
    end
    emit(task.name, group, lane, { kind = "task", task = task })
  end
  return lines, spans, rows, { label = label + 2, width = width }
end

--- What is known of a task's way, in words.
---@param task meanwhile.ChartTask
---@param now number
---@return string[]
function M.describe_task(task, now)
  local lines = { task.name, ("%s  %s"):format(task.id, task.state) }
  local ran = format.duration((task.to or now) - task.from)
  table.insert(lines, ("%s %s"):format(task.to and "ran" or "runs for", ran))
  if task.spawned then
    table.insert(lines, ("asked for by call %d"):format(task.spawned))
  end
  if task.to then
    local waited = format.duration((task.delivered or now) - (task.queued or task.to))
    if task.call then
      local by = task.by and task.by ~= "drain" and (" (shown by %s)"):format(task.by) or ""
      table.insert(
        lines,
        ("in the queue for %s, then entered with call %d%s"):format(waited, task.call, by)
      )
    elseif task.delivered then
      table.insert(lines, ("in the queue for %s, then delivered by %s"):format(waited, task.by))
    else
      table.insert(lines, ("in the queue for %s, not delivered yet"):format(waited))
    end
  end
  return lines
end

--- What is known of a call, in words.
---@param call meanwhile.ChartCall
---@param now number
---@return string[]
function M.describe_call(call, now)
  local ended = call.ended or {}
  local took = format.duration((call.to or now) - call.from)
  local lines = { ("call %d  %s %s"):format(call.call, call.to and "took" or "runs for", took) }
  if ended.error then
    table.insert(lines, "failed: " .. format.one_line(ended.error))
  elseif ended.stopReason then
    table.insert(lines, "ended with " .. ended.stopReason)
  end
  if ended.inputTokens or ended.outputTokens then
    table.insert(
      lines,
      ("%d tokens in (%d cached), %d out"):format(
        ended.inputTokens or 0,
        ended.cachedTokens or 0,
        ended.outputTokens or 0
      )
    )
  end
  for _, title in ipairs(call.asked) do
    table.insert(lines, "asked for: " .. format.one_line(title))
  end
  for _, id in ipairs(call.carried) do
    table.insert(lines, "brought in: [bg:" .. id .. "]")
  end
  return lines
end

return M
