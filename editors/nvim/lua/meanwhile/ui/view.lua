--- Functions for all buffers of the plugin: creating them, their windows, lines with colours, mappings and
--- the help on these. Does not know about tasks.

local M = {}

---@class meanwhile.Span
---@field [1] integer line, from 0
---@field [2] integer first byte
---@field [3] integer byte after the last; -1: the end of the line
---@field [4] string highlight group

---@class meanwhile.Key
---@field [1] string|string[] keys
---@field [2] function|string|false a name: the owner's method; false: a key of Neovim, for the help only
---@field [3] string the description
---@field [4]? any the argument of the method
---@field mode? string|string[] default: Normal mode

local links = {
  Running = "DiagnosticInfo",
  Ok = "DiagnosticOk",
  Failed = "DiagnosticError",
  Stopped = "DiagnosticWarn",
  Dim = "Comment",
  Title = "Title",
  Label = "Identifier",
  Id = "Comment",
  Call = "Function",
  Queue = "DiagnosticWarn",
  Drain = "DiagnosticWarn",
  Asks = "DiagnosticWarn",
  Deadline = "DiagnosticWarn",
  Limit = "DiagnosticError",
  Axis = "Comment",
  Now = "DiagnosticInfo",
  You = "Title",
  Agent = "Function",
  Thought = "Comment",
  Tool = "Identifier",
  Background = "DiagnosticHint",
  Notice = "DiagnosticWarn",
  Output = "Normal",
  Added = "Added",
  Removed = "Removed",
}

--- Defines the highlight groups (`MeanwhileOk` and so on) as default links, which the person can override.
function M.highlights()
  for name, link in pairs(links) do
    vim.api.nvim_set_hl(0, "Meanwhile" .. name, { link = link, default = true })
  end
end

M.namespace = vim.api.nvim_create_namespace("meanwhile")

--- Returns the buffer of that name, if there is one.
---@param name string
---@return integer?
function M.find(name)
  for _, buf in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_valid(buf) and vim.api.nvim_buf_get_name(buf) == name then
      return buf
    end
  end
  return nil
end

--- Whether a buffer is still usable: one that `:bdelete` has unloaded has lost its mappings and options.
---@param buf integer
---@return boolean
function M.whole(buf)
  return vim.api.nvim_buf_is_valid(buf) and vim.api.nvim_buf_is_loaded(buf)
end

--- Deletes a buffer completely when it is unloaded, so that the next use creates a new one.
---@param buf integer
function M.all_or_nothing(buf)
  vim.api.nvim_create_autocmd("BufUnload", {
    buffer = buf,
    callback = vim.schedule_wrap(function()
      if vim.api.nvim_buf_is_valid(buf) and not vim.api.nvim_buf_is_loaded(buf) then
        vim.api.nvim_buf_delete(buf, { force = true })
      end
    end),
  })
end

--- Names a buffer. Deletes any other buffer of that name first, which the plugin no longer uses.
---@param buf integer
---@param name string
function M.name(buf, name)
  local there = M.find(name)
  if there and there ~= buf then
    vim.api.nvim_buf_delete(there, { force = true })
  end
  vim.api.nvim_buf_set_name(buf, name)
end

--- Creates a buffer without a file.
---@param name string
---@param filetype string
---@return integer buf
function M.scratch(name, filetype)
  local buf = vim.api.nvim_create_buf(false, true)
  M.name(buf, name)
  M.all_or_nothing(buf)
  vim.bo[buf].swapfile = false
  vim.bo[buf].bufhidden = "hide"
  vim.bo[buf].modifiable = false
  vim.bo[buf].filetype = filetype
  return buf
end

--- The least columns that a window at the side leaves for code.
local code_columns = 60
--- The least columns of a window at the side; with fewer it opens below.
local side_columns = 56

--- Shows a buffer in its window of this tab page, else in a new one.
---@param buf integer
---@param command string the command that makes the window
---@return integer win
function M.show(buf, command)
  for _, other in ipairs(vim.fn.win_findbuf(buf)) do
    if vim.api.nvim_win_get_tabpage(other) == vim.api.nvim_get_current_tabpage() then
      vim.api.nvim_set_current_win(other)
      return other
    end
  end
  -- On a narrow screen, make the window narrower or open it below, so that the code has room.
  local width, room = tonumber(command:match("vertical (%d+)")), vim.o.columns - code_columns - 1
  if width and width > room then
    command = room >= side_columns and command:gsub("%d+", room, 1)
      or ("botright %dsplit"):format(math.max(8, math.floor(vim.o.lines * 0.6)))
  end
  local before = vim.api.nvim_get_current_win()
  vim.cmd(command)
  local win = vim.api.nvim_get_current_win()
  vim.api.nvim_win_set_buf(win, buf)
  M.plain(win)
  -- Fix the height, so that the next split takes its lines from the code.
  vim.wo[win].winfixheight = not command:find("vert")
  -- When this window closes, Neovim prefers one without a fixed height: return to the one before.
  vim.api.nvim_create_autocmd("WinClosed", {
    pattern = tostring(win),
    once = true,
    callback = function()
      local here = vim.api.nvim_get_current_win() == win
      vim.schedule(function()
        local ours = vim.startswith(vim.api.nvim_buf_get_name(0), "meanwhile://")
        if here and not ours and vim.api.nvim_win_is_valid(before) then
          vim.api.nvim_set_current_win(before)
        end
      end)
    end,
  })
  return win
end

--- Turns off the window options that only help with editing.
---@param win integer
function M.plain(win)
  for option, value in pairs({
    number = false,
    relativenumber = false,
    signcolumn = "no",
    foldcolumn = "0",
    spell = false,
    list = false,
    cursorline = false,
    wrap = false,
    winfixbuf = false,
    colorcolumn = "",
    statuscolumn = "",
    fillchars = "eob: ",
  }) do
    vim.api.nvim_set_option_value(option, value, { win = win, scope = "local" })
  end
end

--- Replaces only the lines that differ, so that the others are not redrawn.
---@param buf integer
---@param row integer the first line, from 0
---@param count integer
---@param lines string[]
function M.replace(buf, row, count, lines)
  local old = vim.api.nvim_buf_get_lines(buf, row, row + count, false)
  local first, old_last, new_last = 1, #old, #lines
  while first <= #old and first <= #lines and old[first] == lines[first] do
    first = first + 1
  end
  while old_last >= first and new_last >= first and old[old_last] == lines[new_last] do
    old_last, new_last = old_last - 1, new_last - 1
  end
  if old_last >= first or new_last >= first then
    local middle = vim.list_slice(lines, first, new_last)
    vim.api.nvim_buf_set_lines(buf, row + first - 1, row + old_last, false, middle)
  end
end

--- Highlights some lines.
---@param buf integer
---@param row integer the first line, from 0
---@param lines string[]
---@param spans meanwhile.Span[] with line numbers relative to `row`
---@param priority? integer
function M.colour(buf, row, lines, spans, priority)
  for _, span in ipairs(spans) do
    local length = #lines[span[1] + 1]
    local last = span[3] == -1 and length or math.min(span[3], length)
    if span[2] < last then
      vim.api.nvim_buf_set_extmark(buf, M.namespace, row + span[1], span[2], {
        end_col = last,
        hl_group = span[4],
        priority = priority,
      })
    end
  end
end

--- Replaces the lines that differ, and all colours.
---@param buf integer
---@param lines string[]
---@param spans meanwhile.Span[]
function M.render(buf, lines, spans)
  vim.bo[buf].modifiable = true
  M.replace(buf, 0, vim.api.nvim_buf_line_count(buf), lines)
  vim.bo[buf].modifiable = false
  vim.bo[buf].modified = false
  vim.api.nvim_buf_clear_namespace(buf, M.namespace, 0, -1)
  M.colour(buf, 0, lines, spans)
end

--- Maps the keys, `?` and `g?` for help, and `q` to close the window unless `opts.close` is false.
---@param buf integer
---@param title string
---@param owner? table whose methods the keys name
---@param keys meanwhile.Key[]
---@param opts? { close?: false, help?: string[] }
function M.map(buf, title, owner, keys, opts)
  opts = opts or {}
  local function help()
    M.help(title, keys)
  end
  local function close()
    M.close(buf)
  end
  keys = vim.list_extend({}, keys)
  if opts.close ~= false then
    table.insert(keys, { "q", close, "close" })
  end
  table.insert(keys, { opts.help or { "?", "g?" }, help, "show this" })
  for _, key in ipairs(keys) do
    local does = key[2]
    local function call()
      if type(does) == "string" then
        owner[does](owner, key[4])
      else
        does()
      end
    end
    for _, lhs in ipairs(does and (type(key[1]) == "table" and key[1] or { key[1] }) or {}) do
      vim.keymap.set(key.mode or "n", lhs, call, { buffer = buf, nowait = true, desc = key[3] })
    end
  end
end

--- Wraps a window's lines between words. Returns how many screen lines they take.
---@param win integer
---@return integer
function M.wrap(win)
  for _, option in ipairs({ "wrap", "linebreak", "breakindent" }) do
    vim.api.nvim_set_option_value(option, true, { win = win, scope = "local" })
  end
  return vim.api.nvim_win_text_height(win, {}).all
end

--- Opens a floating window, which any of the usual keys closes.
---@param title string
---@param lines string[]
---@param spans? meanwhile.Span[]
---@return integer win
function M.float(title, lines, spans)
  local width = vim.fn.strdisplaywidth(title) + 4
  for _, line in ipairs(lines) do
    width = math.max(width, vim.fn.strdisplaywidth(line) + 1)
  end
  width = math.min(width, vim.o.columns - 4)
  local height = math.max(1, math.min(#lines, vim.o.lines - 6))
  local buf = vim.api.nvim_create_buf(false, true)
  vim.bo[buf].bufhidden = "wipe"
  M.render(buf, lines, spans or {})
  local win = vim.api.nvim_open_win(buf, true, {
    relative = "editor",
    row = math.max(0, math.floor((vim.o.lines - height) / 2) - 1),
    col = math.floor((vim.o.columns - width) / 2),
    width = width,
    height = height,
    style = "minimal",
    border = vim.o.winborder == "" and "rounded" or nil,
    title = " " .. title .. " ",
  })
  vim.api.nvim_win_set_height(win, math.min(M.wrap(win), vim.o.lines - 6))
  local function close()
    if vim.api.nvim_win_is_valid(win) then
      vim.api.nvim_win_close(win, true)
    end
  end
  for _, lhs in ipairs({ "q", "<Esc>", "?", "g?", "<CR>" }) do
    vim.keymap.set("n", lhs, close, { buffer = buf, nowait = true })
  end
  vim.api.nvim_create_autocmd("WinLeave", { buffer = buf, once = true, callback = close })
  return win
end

---@param title string
---@param keys meanwhile.Key[]
function M.help(title, keys)
  local lines, spans = {}, {}
  local width = 0
  local shown = {}
  for i, key in ipairs(keys) do
    shown[i] = type(key[1]) == "table" and table.concat(key[1], " ") or key[1] --[[@as string]]
    width = math.max(width, #shown[i])
  end
  for i, key in ipairs(keys) do
    table.insert(lines, (" %-" .. width .. "s  %s"):format(shown[i], key[3]))
    table.insert(spans, { i - 1, 1, 1 + #shown[i], "MeanwhileLabel" })
  end
  M.float(title, lines, spans)
end

--- Closes the windows of a buffer, except the last window of a tab page, which shows another buffer.
---@param buf integer
function M.close(buf)
  for _, win in ipairs(vim.fn.win_findbuf(buf)) do
    if #vim.api.nvim_tabpage_list_wins(vim.api.nvim_win_get_tabpage(win)) > 1 then
      vim.api.nvim_win_close(win, true)
    else
      vim.api.nvim_win_call(win, function()
        vim.cmd("silent! buffer #")
        if vim.api.nvim_win_get_buf(win) == buf then
          vim.cmd.enew()
        end
      end)
    end
  end
end

--- Calls `draw` when windows change, and `gone` once the buffer is wiped out.
---@param buf integer
---@param draw fun()
---@param gone fun()
function M.follow(buf, draw, gone)
  local group = vim.api.nvim_create_augroup("meanwhile-" .. buf, { clear = true })
  vim.api.nvim_create_autocmd({ "BufWinEnter", "WinResized", "WinEnter" }, {
    group = group,
    callback = vim.schedule_wrap(draw),
  })
  vim.api.nvim_create_autocmd("BufWipeout", {
    group = group,
    buffer = buf,
    callback = function()
      gone()
      vim.api.nvim_del_augroup_by_id(group)
    end,
  })
end

--- Whether a window shows the buffer.
---@param buf integer
---@return boolean
function M.visible(buf)
  return vim.api.nvim_buf_is_valid(buf) and #vim.fn.win_findbuf(buf) > 0
end

--- Sets the winbar of a buffer's windows. `%` in the text is escaped.
---@param buf integer
---@param text string
function M.bar(buf, text)
  local format = require("meanwhile.format")
  for _, win in ipairs(vim.fn.win_findbuf(buf)) do
    local bar = format.cut(" " .. text, vim.api.nvim_win_get_width(win)):gsub("%%", "%%%%")
    if vim.wo[win].winbar ~= bar then
      vim.api.nvim_set_option_value("winbar", bar, { win = win, scope = "local" })
    end
  end
end

--- Calls a function at an interval while `want(true)` holds and a window shows the buffer.
---@param buf integer
---@param interval integer milliseconds
---@param fn fun()
---@return fun(wanted: boolean) want
function M.ticker(buf, interval, fn)
  local timer ---@type uv.uv_timer_t?
  local function want(wanted)
    if wanted and M.visible(buf) then
      if not timer then
        timer = assert(vim.uv.new_timer())
        local this = timer
        timer:start(
          interval,
          interval,
          vim.schedule_wrap(function()
            if this ~= timer then
              return
            elseif M.visible(buf) then
              fn()
            else
              want(false)
            end
          end)
        )
      end
    elseif timer then
      timer:stop()
      timer:close()
      timer = nil
    end
  end
  return want
end

return M
