--- How a chat looks: the transcript in its buffer, only where it changed, and the window's bar.

local config = require("meanwhile.config")
local format = require("meanwhile.format")
local permission = require("meanwhile.ui.permission")
local transcript = require("meanwhile.transcript")
local view = require("meanwhile.ui.view")

local M = {}

local empty = " Ask for something below: <CR> sends it, ? has the keys."

--- Tokens, short: `850`, `12k`, `1.2M`.
---@param count integer
---@return string
local function tokens(count)
  if count < 1000 then
    return tostring(count)
  elseif count < 1e6 then
    return ("%dk"):format(count / 1000 + 0.5)
  end
  return ("%.1fM"):format(count / 1e6)
end

--- How full the context is and what the session has cost, as far as anybody knows.
---@param usage table
---@return string?
function M.usage(usage)
  local parts = {}
  if (usage.used or 0) > 0 then
    local size = (usage.size or 0) > 0 and " of " .. tokens(usage.size) or ""
    table.insert(parts, tokens(usage.used) .. size .. " tokens")
  end
  if usage.cost and usage.cost.amount and usage.cost.amount > 0 then
    local sign = usage.cost.currency == "USD" and "$%.2f"
      or "%.2f " .. tostring(usage.cost.currency)
    table.insert(parts, sign:format(usage.cost.amount))
  end
  return #parts > 0 and table.concat(parts, ", ") or nil
end

--- The window's bar: the model, and what goes on.
---@param chat meanwhile.Chat
function M.bar(chat)
  local running = 0
  for _, task in pairs(chat.workspace.tasks) do
    if task.queue == chat.session and not format.ended(task) then
      running = running + 1
    end
  end
  local parts = {}
  local waits = chat.session and #permission.waiting(chat.session) or 0
  if waits > 0 then
    table.insert(parts, "waits for your permission (p)")
  elseif chat.loading then
    table.insert(parts, "loading")
  elseif chat.note then
    table.insert(parts, chat.note)
  elseif chat:working() then
    table.insert(parts, "working")
  else
    table.insert(parts, "idle")
  end
  if #chat.queued > 0 then
    local count = #chat.queued
    table.insert(parts, count == 1 and "1 prompt waits" or count .. " prompts wait")
  end
  if running > 0 then
    table.insert(parts, ("%d in the background"):format(running))
  end
  if chat.model then
    -- Of a path only its end.
    table.insert(parts, (chat.model:gsub("^([^/]+/).*/", "%1")))
  end
  table.insert(parts, chat.log.usage and M.usage(chat.log.usage))
  table.insert(parts, chat.log.title)
  local text = " " .. format.one_line(table.concat(parts, " · "))
  for _, win in ipairs(vim.fn.win_findbuf(chat.buf)) do
    local bar = view.escape(format.cut(text, vim.api.nvim_win_get_width(win)))
    if vim.wo[win].winbar ~= bar then
      vim.api.nvim_set_option_value("winbar", bar, { win = win, scope = "local" })
    end
  end
end

--- Draws what has changed, and stays at the end where the cursor was there.
---@param chat meanwhile.Chat
function M.draw(chat)
  if not vim.api.nvim_buf_is_valid(chat.buf) then
    return
  end
  local buf = chat.buf
  local following = {}
  local count = vim.api.nvim_buf_line_count(buf)
  for _, win in ipairs(vim.fn.win_findbuf(buf)) do
    if vim.api.nvim_win_get_cursor(win)[1] >= count then
      table.insert(following, win)
    end
  end
  local icons = config.get().icons
  local items = chat.log.items
  local first = math.min(chat.log.dirty, #items + 1)
  chat.log.dirty = #items + 1
  local row = 0
  for i = 1, first - 1 do
    row = row + (chat.counts[i] or 0)
  end
  local lines, spans = {}, {}
  for i = first, #items do
    local item_lines, item_spans = transcript.render(items[i], function(id)
      return chat.workspace.tasks[id]
    end, icons, items[i - 1])
    if i == 1 and item_lines[1] == "" then
      table.remove(item_lines, 1)
      item_spans = vim.tbl_map(function(span)
        return { span[1] - 1, span[2], span[3], span[4] }
      end, item_spans)
    end
    for _, span in ipairs(item_spans) do
      table.insert(spans, { row + #lines + span[1], span[2], span[3], span[4] })
    end
    chat.counts[i] = #item_lines
    vim.list_extend(lines, item_lines)
  end
  for i = #items + 1, #chat.counts do
    chat.counts[i] = nil
  end
  if #items == 0 then
    lines = { empty }
    spans = { { 0, 0, -1, "MeanwhileDim" } }
  end
  vim.bo[buf].modifiable = true
  vim.api.nvim_buf_clear_namespace(buf, view.namespace, row, -1)
  -- Only what differs, so that a stream does not draw the same text again and again.
  local old = vim.api.nvim_buf_get_lines(buf, row, -1, false)
  local same = 0
  while same < #old and same < #lines and old[same + 1] == lines[same + 1] do
    same = same + 1
  end
  if same < #old or same < #lines then
    local rest = vim.list_slice(lines, same + 1)
    vim.api.nvim_buf_set_lines(buf, row + same, -1, false, rest)
  end
  vim.bo[buf].modifiable = false
  for _, span in ipairs(spans) do
    if span[1] >= 0 then
      local line = vim.api.nvim_buf_get_lines(buf, span[1], span[1] + 1, false)[1] or ""
      local last = span[3] == -1 and #line or math.min(span[3], #line)
      if span[2] < last then
        vim.api.nvim_buf_set_extmark(buf, view.namespace, span[1], span[2], {
          end_col = last,
          hl_group = span[4],
          priority = 150,
        })
      end
    end
  end
  local now_last = vim.api.nvim_buf_line_count(buf)
  for _, win in ipairs(following) do
    if vim.api.nvim_win_is_valid(win) then
      vim.api.nvim_win_set_cursor(win, { now_last, 0 })
    end
  end
  M.bar(chat)
end

--- The item under the cursor.
---@param chat meanwhile.Chat
---@return meanwhile.Item?
function M.item(chat)
  local line, row = vim.fn.line("."), 0
  for i, count in ipairs(chat.counts) do
    row = row + count
    if line <= row then
      return chat.log.items[i]
    end
  end
end

return M
