--- Swim lanes in box characters: time from left to right, one lane for the agent, one for waiting results,
--- one for each task. Pure: takes the daemon's pieces and a window of time, returns lines, colours and the
--- lane of each line. The daemon decides what to show, its labels and its looks.

local format = require("meanwhile.format")

local M = {}

---@class meanwhile.Thing a segment, mark or gap, with its times in milliseconds since 1970
---@field piece meanwhile.Piece
---@field from number
---@field to? number absent while it continues

---@class meanwhile.Lane
---@field piece meanwhile.Piece
---@field things meanwhile.Thing[]

---@class meanwhile.Picture
---@field lanes meanwhile.Lane[]
---@field gaps meanwhile.Thing[]
---@field from? number absent if the picture is empty
---@field to? number absent while something continues
---@field last number the latest time in the pieces
---@field gap number the drawn length of every gap, in milliseconds

--- The drawn length of a gap, as a share of the time outside gaps.
local gap_share = 0.08

--- Sorts pieces into lanes and gaps; a recording is cut at `until_`.
---@param pieces meanwhile.Piece[]
---@param until_? number
---@return meanwhile.Picture
function M.picture(pieces, until_)
  local picture = { lanes = {}, gaps = {}, last = 0, gap = 0 }
  local by_key, open = {}, false
  for _, piece in ipairs(pieces) do
    if piece.type == "lane" then
      by_key[piece.key] = { piece = piece, things = {} }
      table.insert(picture.lanes, by_key[piece.key])
    end
  end
  for _, piece in ipairs(pieces) do
    local from = format.time(piece.from or piece.at)
    local thing = { piece = piece, from = from, to = format.time(piece.to or piece.at) }
    if piece.type == "gap" then
      table.insert(picture.gaps, thing)
    elseif by_key[piece.lane] and from <= (until_ or math.huge) then
      if until_ and thing.to and thing.to > until_ then
        local untold = { says = {}, look = piece.kind == "task" and "running" or piece.look }
        thing.piece, thing.to = vim.tbl_extend("force", piece, untold), nil
      end
      table.insert(by_key[piece.lane].things, thing)
      picture.from = math.min(picture.from or from, from)
      picture.last = math.max(picture.last, thing.to or from)
      -- A result may wait for days, so it does not keep the timeline redrawing.
      open = open or (not thing.to and piece.kind ~= "result")
    end
  end
  table.sort(picture.gaps, function(a, b)
    return a.from < b.from
  end)
  local active = picture.last - (picture.from or 0)
  for _, gap in ipairs(picture.gaps) do
    active = active - (gap.to - gap.from)
  end
  picture.gap = math.max(1000, active * gap_share)
  picture.to = not open and picture.last or nil
  return picture
end

--- Converts a time to the drawn axis, on which all gaps have the same length.
---@param picture meanwhile.Picture
---@param at number
---@return number
function M.fold(picture, at)
  local cut = 0
  for _, gap in ipairs(picture.gaps) do
    if at > gap.from then
      cut = cut + (math.min(at, gap.to) - gap.from) * (1 - picture.gap / (gap.to - gap.from))
    end
  end
  return at - cut
end

--- The range of folded time that a picture covers.
---@param picture meanwhile.Picture
---@param now number
---@return number from
---@return number to
function M.extent(picture, now)
  if not picture.from then
    return now - 60000, now
  end
  local from, to = picture.from, M.fold(picture, picture.to or now)
  -- A margin on both sides.
  local room = math.max(500, (to - from) * 0.02)
  return from - room, to + room
end

local second, minute = 1000, 60000
--- Distances between the ticks of the axis, listed in seconds.
local steps = vim.tbl_map(
  function(text)
    return tonumber(text) * second
  end,
  vim.split(
    "0.1 0.2 0.5 1 2 5 10 15 30 60 120 300 600 900 1800 3600 7200 21600 43200 86400 604800",
    " "
  )
)

--- How each look is drawn: the glyphs of its middle, first and last cell, and its highlight.
---@type table<string, table<string, { [1]: string, [2]?: string, [3]?: string, group: string }>>
local looks = { unicode = {}, ascii = {} }
for look, row in pairs({
  turn = { "Dim", "─", nil, nil, "-" },
  call = { "Call", "━", "┃", nil, "=", "|" },
  tool = { "Tool", "═", nil, nil, "~" },
  asks = { "Asks", "░", nil, nil, "?" },
  queued = { "Dim", "·", nil, nil, "." },
  running = { "Running", "─", "├", "▸", "=", "[", ">" },
  succeeded = { "Ok", "─", "├", "┤", "=", "[", "]" },
  failed = { "Failed", "─", "├", "✗", "=", "[", "x" },
  stopped = { "Stopped", "─", "├", "■", "=", "[", "#" },
  stoppedByAgent = { "Agent", "─", "├", "■", "=", "[", "#" },
  timedOut = { "Deadline", "─", "├", "!", "=", "[", "!" },
  limited = { "Limit", "─", "├", "!", "=", "[", "!" },
  skipped = { "Dim", "╌", "├", "┤", "-", "[", "]" },
  lost = { "Failed", "─", "├", "?", "=", "[", "?" },
  result = { "Queue", "┄", nil, nil, "." },
  enters = { "Drain", "◆", nil, nil, "@" },
  compacted = { "Notice", "≡", nil, nil, "%" },
  resumed = { "Notice", "»", nil, nil, "^" },
}) do
  looks.unicode[look] = { row[2], row[3], row[4], group = "Meanwhile" .. row[1] }
  looks.ascii[look] = { row[5], row[6], row[7], group = "Meanwhile" .. row[1] }
end

local signs = {
  unicode = { tick = "┬", axis = "─", now = "▾", gap = "╱", single = "│" },
  ascii = { tick = "+", axis = "-", now = "v", gap = "/", single = "|" },
}

--- The legend of the signs that a picture contains, wrapped to `width`.
---@param legend { look: string, label: string }[]
---@param picture meanwhile.Picture
---@param icons "unicode"|"ascii"
---@param width integer
---@return string[]
function M.legend(legend, picture, icons, width)
  local there, lines = {}, { "" }
  for _, lane in ipairs(picture.lanes) do
    for _, thing in ipairs(lane.things) do
      there[thing.piece.look or thing.piece.kind] = true
    end
  end
  for _, entry in ipairs(legend) do
    local set = looks[icons][entry.look]
    if set and there[entry.look] then
      local part = (set[2] or "") .. set[1] .. (set[3] or "") .. " " .. entry.label
      local line = lines[#lines] == "" and part or lines[#lines] .. " · " .. part
      if vim.fn.strdisplaywidth(line) <= width or lines[#lines] == "" then
        lines[#lines] = line
      else
        table.insert(lines, part)
      end
    end
  end
  return lines
end

---@class meanwhile.LanesOpts
---@field width integer columns of the window
---@field from number folded
---@field to number folded
---@field now number
---@field icons? "unicode"|"ascii"
---@field offset? number seconds that local time is ahead of UTC

--- The cells of one line of the picture, to be joined.
---@param width integer
local function row(width)
  local cells, groups = {}, {}
  for i = 1, width do
    cells[i], groups[i] = " ", false
  end
  local function put(column, glyph, group)
    if glyph and column >= 1 and column <= width then
      cells[column], groups[column] = glyph, group
    end
  end
  return {
    put = put,
    fill = function(first, last, glyph, group)
      for column = math.max(1, first), math.min(width, last) do
        put(column, glyph, group)
      end
    end,
    --- Writes a text if all of it fits; returns whether it did.
    text = function(column, text, group)
      local glyphs = vim.fn.split(text, "\\zs")
      for i = column, column + #glyphs do
        if column < 1 or i > width + 1 or (i <= width and cells[i] ~= " ") then
          return false
        end
      end
      for i, glyph in ipairs(glyphs) do
        put(column + i - 1, glyph, group)
      end
      return true
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

--- The times of the axis's ticks, which lie only outside gaps.
---@param picture meanwhile.Picture
---@param opts meanwhile.LanesOpts
---@param step number
---@return number[]
local function ticks(picture, opts, step)
  local found, offset = {}, (opts.offset or 0) * 1000
  for i = 0, #picture.gaps do
    local begin, next_gap = picture.gaps[i] and picture.gaps[i].to, picture.gaps[i + 1]
    local cut = begin and begin - M.fold(picture, begin) or 0
    local first = math.max(begin or -math.huge, opts.from + cut)
    local at = math.ceil((first + offset) / step) * step - offset
    while at <= math.min(next_gap and next_gap.from or math.huge, opts.to + cut) do
      table.insert(found, at)
      at = at + step
    end
  end
  return found
end

--- Draws a picture.
---@param picture meanwhile.Picture
---@param opts meanwhile.LanesOpts
---@return string[] lines
---@return meanwhile.Span[] spans
---@return (meanwhile.Lane|false)[] rows the lane of each line
---@return { label: integer, width: integer } layout the columns of the labels and of the lanes
function M.draw(picture, opts)
  local icons = opts.icons or "unicode"
  local set, drawn = signs[icons], looks[icons]
  local label = 5
  for _, lane in ipairs(picture.lanes) do
    label = math.max(label, vim.fn.strdisplaywidth(lane.piece.label))
  end
  label = math.min(label, math.max(8, math.floor(opts.width * 0.22)))
  local width = math.max(10, opts.width - label - 3)
  local span = math.max(1, opts.to - opts.from)
  ---@param at number
  local function column(at)
    return math.floor((M.fold(picture, at) - opts.from) / span * width) + 1
  end
  local lines, spans, rows = {}, {}, {}

  ---@param name string
  ---@param group string?
  ---@param cells table
  ---@param lane meanwhile.Lane|false
  local function emit(name, group, cells, lane)
    local head = " " .. format.pad(format.cut(name, label), label) .. " "
    local text, at = { head }, #head
    local line = #lines
    if group then
      table.insert(spans, { line, 1, #head, group })
    end
    local first, current
    for i = 1, width do
      if cells.groups[i] ~= current then
        if current then
          table.insert(spans, { line, first, at, current })
        end
        first, current = at, cells.groups[i]
      end
      text[#text + 1] = cells.cells[i]
      at = at + #cells.cells[i]
    end
    if current then
      table.insert(spans, { line, first, at, current })
    end
    table.insert(lines, (table.concat(text):gsub("%s+$", "")))
    table.insert(rows, lane)
  end

  ---@param cells table
  local function broken(cells)
    for _, gap in ipairs(picture.gaps) do
      cells.fill(column(gap.from) + 1, column(gap.to) - 1, set.gap, "MeanwhileDim")
    end
  end

  -- The axis: times above, ticks below; a gap shows its length instead of times.
  local step = steps[#steps]
  for _, candidate in ipairs(steps) do
    if candidate / span * width >= 12 then
      step = candidate
      break
    end
  end
  local times, axis = row(width), row(width)
  axis.fill(1, width, set.axis, "MeanwhileAxis")
  for _, gap in ipairs(picture.gaps) do
    local middle = (column(gap.from) + column(gap.to)) / 2
    times.text(math.floor(middle - #gap.piece.label / 2), gap.piece.label, "MeanwhileNow")
  end
  for _, at in ipairs(ticks(picture, opts, step)) do
    axis.put(column(at), set.tick, "MeanwhileAxis")
    times.text(column(at), clock(at, step, opts.offset or 0), "MeanwhileAxis")
  end
  local now = M.fold(picture, opts.now)
  if now >= opts.from and now <= opts.to then
    axis.put(math.min(width, column(opts.now)), set.now, "MeanwhileNow")
  end
  broken(axis)
  emit("", nil, times, false)
  emit("", nil, axis, false)

  for _, lane in ipairs(picture.lanes) do
    local numbers, cells = row(width), row(width)
    for _, thing in ipairs(lane.things) do
      local piece = thing.piece
      local look = drawn[piece.look or piece.kind]
      local first, last = column(thing.from), column(thing.to or math.max(opts.now, thing.from))
      if piece.type == "mark" then
        cells.put(first, look[1], look.group)
      else
        local call = piece.kind == "call"
        cells.fill(first, last, (call and drawn.call or look)[1], look.group)
        if piece.kind == "task" then
          local tail = first == last and piece.look == "succeeded" and set.single or look[3]
          cells.put(first, look[2], look.group)
          cells.put(thing.to and last or math.min(width, last), tail, look.group)
        elseif call then
          cells.put(first, drawn.call[2], look.group)
          numbers.text(first, tostring(piece.call), "MeanwhileDim")
        elseif piece.kind == "result" and thing.to then
          cells.put(last, drawn.enters[1], drawn.enters.group)
        end
        if piece.look == "failed" and first < last then
          cells.put(last, look[3], look.group)
        end
      end
    end
    broken(cells)
    if lane.piece.kind == "agent" then
      emit("call", "MeanwhileDim", numbers, lane)
    end
    local look = drawn[lane.piece.look]
    emit(lane.piece.label, look and look.group or "MeanwhileAgent", cells, lane)
  end
  return lines, spans, rows, { label = label + 2, width = width }
end

--- Describes the thing of a lane at a folded time, or the nearest one.
---@param picture meanwhile.Picture
---@param lane meanwhile.Lane
---@param at number
---@param now number
---@return string[]
function M.describe(picture, lane, at, now)
  local best, distance
  for _, thing in ipairs(lane.things) do
    local from, to = M.fold(picture, thing.from), M.fold(picture, thing.to or now)
    local away = at < from and from - at or at > to and at - to or 0
    -- Of things at the same distance take the last, which is drawn on top.
    if thing.piece.kind ~= "turn" and (not distance or away <= distance) then
      best, distance = thing, away
    end
  end
  local lines = {}
  for _, thing in ipairs(best and lane.things or {}) do
    local same = best.piece.call
      and lane.piece.kind == "agent"
      and thing.piece.call == best.piece.call
    if thing == best or same then
      table.insert(lines, thing.piece.label)
      for _, line in ipairs(thing.piece.says) do
        table.insert(lines, "  " .. line)
      end
      if not thing.to then
        table.insert(lines, "  for " .. format.duration(now - thing.from))
      end
    end
  end
  return lines
end

return M
