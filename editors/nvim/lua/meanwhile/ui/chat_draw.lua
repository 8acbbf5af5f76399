--- Draws a chat: the changed parts of the transcript, and the window's bar.

local config = require("meanwhile.config")
local format = require("meanwhile.format")
local permission = require("meanwhile.ui.permission")
local transcript = require("meanwhile.transcript")
local view = require("meanwhile.ui.view")

local M = {}

local empty = " Ask for something below: <CR> sends it, ? has the keys."

--- Writes the window's bar: what the agent does, waiting prompts, tasks, the model, usage and title.
---@param chat meanwhile.Chat
function M.bar(chat)
  local running = 0
  for _, task in pairs(chat.workspace.tasks) do
    if task.queue == chat.session and not format.ended(task) and not format.is_step(task) then
      running = running + 1
    end
  end
  local does = chat:working() and "working" or "idle"
  local waits = chat.session and #permission.waiting(chat.session) > 0
  local parts = {
    waits and "waits for your permission (p)" or chat.loading and "loading" or chat.note or does,
  }
  if chat.watched then
    table.insert(parts, chat.watched.says)
  end
  local count = #chat.sent
  if chat.running and count > 0 then
    table.insert(parts, count == 1 and "1 prompt waits" or count .. " prompts wait")
  end
  if running > 0 then
    table.insert(parts, ("%d in the background"):format(running))
  end
  if chat.model then
    -- Of `provider/long/path/model`, show only `provider/model`.
    table.insert(parts, (chat.model:gsub("^([^/]+/).*/", "%1")))
  end
  table.insert(parts, chat.log.usage)
  table.insert(parts, chat.log.title)
  view.bar(chat.buf, format.one_line(table.concat(parts, " · ")))
end

--- Renders the item at index `i`.
---@param chat meanwhile.Chat
---@param i integer
---@return string[] lines
---@return meanwhile.Span[] spans
local function rendered(chat, i)
  local items = chat.log.items
  local lines, spans = transcript.render(items[i], function(id)
    return chat.workspace.tasks[id]
  end, config.get().icons, items[i - 1])
  if i == 1 and lines[1] == "" then
    -- The first item needs no blank line above it.
    table.remove(lines, 1)
    for _, span in ipairs(spans) do
      span[1] = span[1] - 1
    end
  end
  return lines, spans
end

--- Replaces some lines and their colours.
---@param buf integer
---@param row integer
---@param count integer
---@param lines string[]
---@param spans meanwhile.Span[]
local function put(buf, row, count, lines, spans)
  vim.api.nvim_buf_clear_namespace(buf, view.namespace, row, row + count)
  view.replace(buf, row, count, lines)
  view.colour(buf, row, lines, spans, 150)
end

--- Draws the changes. A window whose cursor was in the last line stays at the end.
---@param chat meanwhile.Chat
function M.draw(chat)
  local buf = chat.buf
  if not vim.api.nvim_buf_is_valid(buf) then
    return
  end
  local following = {}
  local count = vim.api.nvim_buf_line_count(buf)
  for _, win in ipairs(vim.fn.win_findbuf(buf)) do
    if vim.api.nvim_win_get_cursor(win)[1] >= count then
      table.insert(following, win)
    end
  end
  local items, drawn = chat.log.items, chat.drawn
  vim.bo[buf].modifiable = true
  local row, kept = 0, 0
  while drawn[kept + 1] and drawn[kept + 1].item == items[kept + 1] do
    kept = kept + 1
    if items[kept].stale then
      local lines, spans = rendered(chat, kept)
      put(buf, row, drawn[kept].count, lines, spans)
      drawn[kept].count = #lines
    end
    row = row + drawn[kept].count
  end
  if kept < #items or kept < #drawn or #items == 0 then
    -- The items differ from here on: replace all of them.
    local lines, spans = {}, {}
    for i = kept + 1, #items do
      local item_lines, item_spans = rendered(chat, i)
      for _, span in ipairs(item_spans) do
        table.insert(spans, { #lines + span[1], span[2], span[3], span[4] })
      end
      drawn[i] = { item = items[i], count = #item_lines }
      vim.list_extend(lines, item_lines)
    end
    for i = #drawn, #items + 1, -1 do
      drawn[i] = nil
    end
    if #items == 0 then
      lines = { empty }
      spans = { { 0, 0, -1, "MeanwhileDim" } }
    end
    put(buf, row, vim.api.nvim_buf_line_count(buf) - row, lines, spans)
  end
  vim.bo[buf].modifiable = false
  local now_last = vim.api.nvim_buf_line_count(buf)
  for _, win in ipairs(following) do
    if vim.api.nvim_win_is_valid(win) then
      vim.api.nvim_win_set_cursor(win, { now_last, 0 })
      -- If the text now ends above the bottom of the window, scroll back to fill it.
      vim.api.nvim_win_call(win, function()
        if vim.fn.line("w0") > 1 and vim.fn.winline() < vim.fn.winheight(0) - 1 then
          vim.cmd("normal! zb")
        end
      end)
    end
  end
  M.bar(chat)
end

--- Returns the item under the cursor.
---@param chat meanwhile.Chat
---@return meanwhile.Item?
function M.item(chat)
  local line, row = vim.fn.line("."), 0
  for _, drawn in ipairs(chat.drawn) do
    row = row + drawn.count
    if line <= row then
      return drawn.item
    end
  end
end

return M
