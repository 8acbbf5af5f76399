--- Formats durations, sizes, times and tasks for people. The daemon words the state and the end of a task
--- (`Task.shown`); this module only passes them on. Pure, except for the clock.

local M = {}

--- A duration in at most two units: `0.4s`, `38s`, `1m 32s`, `2h 5m`, `3d 4h`.
---@param ms number
---@return string
function M.duration(ms)
  local seconds = math.floor(math.max(0, ms) / 1000)
  local function pair(big, unit, small, small_unit)
    return small == 0 and ("%d%s"):format(big, unit)
      or ("%d%s %d%s"):format(big, unit, small, small_unit)
  end
  if seconds < 10 then
    local tenths = math.floor(math.max(0, ms) / 100)
    return ("%d.%ds"):format(math.floor(tenths / 10), tenths % 10)
  elseif seconds < 60 then
    return seconds .. "s"
  elseif seconds < 3600 then
    return pair(math.floor(seconds / 60), "m", seconds % 60, "s")
  elseif seconds < 86400 then
    return pair(math.floor(seconds / 3600), "h", math.floor(seconds % 3600 / 60), "m")
  end
  return pair(math.floor(seconds / 86400), "d", math.floor(seconds % 86400 / 3600), "h")
end

--- A number of bytes: `0 B`, `1.5 KiB`, `12 MiB`.
---@param count number
---@return string
function M.bytes(count)
  if count < 1024 then
    return ("%d B"):format(count)
  end
  local units = { "KiB", "MiB", "GiB", "TiB", "PiB" }
  local value, unit = count / 1024, 1
  while value >= 1023.5 and unit < #units do
    value, unit = value / 1024, unit + 1
  end
  return (value < 9.95 and "%.1f %s" or "%.0f %s"):format(value, units[unit])
end

--- Parses an RFC 3339 time in UTC as milliseconds since 1970; nil if it is not one.
---@param text string?
---@return number?
function M.time(text)
  if not text then
    return nil
  end
  local year, month, day, hour, minute, second =
    text:match("^(%d+)-(%d+)-(%d+)[Tt ](%d+):(%d+):(%d+%.?%d*)")
  if not year then
    return nil
  end
  -- Days since the epoch of a civil date (H. Hinnant, "chrono-compatible low-level date algorithms").
  local y, m, d = tonumber(year) or 0, tonumber(month) or 0, tonumber(day) or 0
  y = m <= 2 and y - 1 or y
  local era = math.floor(y / 400)
  local of_era = y - era * 400
  local of_year = math.floor((153 * (m + (m > 2 and -3 or 9)) + 2) / 5) + d - 1
  local days = era * 146097
    + of_era * 365
    + math.floor(of_era / 4)
    - math.floor(of_era / 100)
    + of_year
    - 719468
  local seconds = ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)
  return math.floor(seconds * 1000 + 0.5)
end

--- The current time, in milliseconds since 1970.
---@return number
function M.now()
  local seconds, micros = vim.uv.gettimeofday()
  return seconds * 1000 + math.floor(micros / 1000)
end

--- Terminal output as plain text: without colours and titles, and without text that a carriage return
--- overwrites.
---@param text string
---@return string
function M.plain(text)
  text = text:gsub("\27%[[%d;:?]*[ -/]*[@-~]", "")
  text = text:gsub("\27%][^\7\27]*\7", ""):gsub("\27%][^\7\27]*\27\\", ""):gsub("\27[()].", "")
  return (text:gsub("\r+\n", "\n"):gsub("\r+$", ""):gsub("[^\n]*\r", ""))
end

--- Text on one line, without characters that move the cursor, or reorder or hide the text around them.
---@param text string
---@return string
function M.one_line(text)
  local line = vim.trim((text:gsub("%s+", " ")))
  line = line:gsub("[%z\1-\31\127]", "\u{fffd}")
  -- U+200B-U+200F and U+202A-U+202E, then U+2060-U+2069
  line = line:gsub("\226\128[\139-\143\170-\174]", "\u{fffd}")
  return (line:gsub("\226\129[\160-\169]", "\u{fffd}"))
end

--- Text cut to a width on the screen, with an ellipsis if it was cut.
---@param text string
---@param width integer
---@return string
function M.cut(text, width)
  if vim.fn.strdisplaywidth(text) <= width then
    return text
  elseif width <= 1 then
    return width == 1 and "…" or ""
  end
  local low, high = 0, vim.fn.strchars(text)
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if vim.fn.strdisplaywidth(vim.fn.strcharpart(text, 0, middle)) <= width - 1 then
      low = middle
    else
      high = middle - 1
    end
  end
  return vim.fn.strcharpart(text, 0, low) .. "…"
end

--- Text padded with blanks to a width on the screen.
---@param text string
---@param width integer
---@param right? boolean put the blanks before the text
---@return string
function M.pad(text, width, right)
  local blanks = (" "):rep(math.max(0, width - vim.fn.strdisplaywidth(text)))
  return right and blanks .. text or text .. blanks
end

---@param task meanwhile.Task
---@return boolean
function M.ended(task)
  return task.state ~= "running" and task.state ~= "stopping"
end

--- Whether an agent runs it in the foreground, as a step of its turn. Lists do not show such a task.
---@param task meanwhile.Task
---@return boolean
function M.is_step(task)
  return task.role == "step"
end

--- How long a task has run, in milliseconds.
---@param task meanwhile.Task
---@param now? number
---@return number
function M.elapsed(task, now)
  if task.durationMs then
    return task.durationMs
  end
  local from = M.time(task.createdAt) or M.now()
  return math.max(0, (M.time(task.endedAt) or now or M.now()) - from)
end

---@alias meanwhile.Outcome "running"|"stopping"|"ok"|"failed"|"stopped"|"lost"

--- The daemon's outcomes that share the icon and colour of another.
---@type table<string, meanwhile.Outcome>
local drawn = { queued = "running", succeeded = "ok", timedOut = "failed" }

--- The outcome of a task, for icons and colours.
---@param task { shown: { outcome?: string } }
---@return meanwhile.Outcome
function M.outcome(task)
  -- A task that is no longer kept has no outcome.
  local outcome = task.shown.outcome or "lost"
  return drawn[outcome] or outcome --[[@as meanwhile.Outcome]]
end

--- The state of a task, with its progress: `running 41%`, `exit 1`, `stopped by client`.
---@param task meanwhile.Task
---@return string
function M.state(task)
  local percent = task.shown.outcome == "running" and task.progress and task.progress.percent
  return task.shown.stands .. (percent and (" %d%%"):format(percent) or "")
end

--- The end of a task as a phrase: `exited 1 after 4.0s`, `stopped by client after 3.0s`.
---@param task meanwhile.Task
---@return string
function M.ending(task)
  return task.shown.ended or task.shown.stands .. " for " .. M.duration(M.elapsed(task))
end

--- The name of a task for people: its label, else its command.
---@param task meanwhile.Task
---@return string
function M.name(task)
  return task.shown.title
end

--- How each outcome is drawn: the Unicode icon, the ASCII icon, the highlight.
---@type table<meanwhile.Outcome, { [1]: string, [2]: string, [3]: string }>
local signs = {
  running = { "●", "*", "Running" },
  stopping = { "◌", "~", "Stopped" },
  ok = { "✓", "+", "Ok" },
  failed = { "✗", "x", "Failed" },
  stopped = { "■", "-", "Stopped" },
  lost = { "?", "?", "Failed" },
}

---@param outcome meanwhile.Outcome
---@param set? "unicode"|"ascii"
---@return string
function M.icon(outcome, set)
  return signs[outcome][set == "ascii" and 2 or 1]
end

---@type table<meanwhile.Outcome, string>
M.highlight = vim.tbl_map(function(row)
  return "Meanwhile" .. row[3]
end, signs)

return M
