--- A change that the agent proposes, as a diff in its own tab: the current file, and beside or below it the
--- proposed text, which the person can edit. A key allows the text as edited; nothing is written to the
--- file before that.

local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@class meanwhile.Change
---@field path string
---@field oldText? string
---@field newText string

---@class meanwhile.Review
---@field change meanwhile.Change
---@field was integer the buffer with the current file
---@field proposed integer the buffer with the proposed text
local Review = {}
Review.__index = Review

--- Returns the change that a request for permission is about.
---@param params table
---@return meanwhile.Change?
function M.of(params)
  for _, content in ipairs(vim.tbl_get(params, "toolCall", "content") or {}) do
    if content.type == "diff" then
      return content
    end
  end
  return nil
end

--- Splits a text into the lines of a buffer.
---@param text string
---@return string[] lines
---@return { dos: boolean, ended: boolean } form line endings, and whether the last line has one
function M.lines(text)
  local bare, dos = text:gsub("\r\n", "\n")
  dos = dos > 0 and select(2, text:gsub("\n", "")) == dos
  if text == "" then
    return {}, { dos = false, ended = true }
  end
  local lines = vim.split(dos and bare or text, "\n", { plain = true })
  local ended = #lines > 1 and lines[#lines] == ""
  if ended then
    table.remove(lines)
  end
  return lines, { dos = dos, ended = ended }
end

--- Joins lines to a text; the inverse of `lines`.
---@param lines string[]
---@param form { dos: boolean, ended: boolean }
---@return string
function M.text(lines, form)
  if #lines == 0 then
    return ""
  end
  local ending = form.dos and "\r\n" or "\n"
  return table.concat(lines, ending) .. (form.ended and ending or "")
end

---@param name string
---@param path string
---@param text string
---@return integer buf
local function buffer(name, path, text)
  local buf = vim.api.nvim_create_buf(false, true)
  view.name(buf, name .. path)
  vim.bo[buf].bufhidden = "hide"
  vim.bo[buf].swapfile = false
  vim.api.nvim_buf_set_lines(buf, 0, -1, false, (M.lines(text)))
  -- Only highlight it: with a filetype, language servers would attach to it as if it were the file.
  local language = vim.treesitter.language.get_lang(vim.filetype.match({ filename = path }) or "")
  if language then
    pcall(vim.treesitter.start, buf, language)
  end
  return buf
end

---@param change meanwhile.Change
---@param allow fun() called when the person allows the text as edited
---@return meanwhile.Review
function M.new(change, allow)
  local self = setmetatable({ change = change }, Review)
  self.was = buffer("meanwhile://was", change.path, change.oldText or "")
  vim.bo[self.was].modifiable = false
  self.proposed = buffer("meanwhile://proposed", change.path, change.newText)
  vim.bo[self.proposed].buftype = "acwrite"
  vim.bo[self.proposed].modified = false
  vim.api.nvim_create_autocmd("BufWriteCmd", {
    buffer = self.proposed,
    callback = function()
      vim.bo[self.proposed].modified = false
      -- `:wa` and autosave plugins also write the buffer, so a write is not an answer.
      tell.info("kept, and not written yet: ZZ allows it")
    end,
  })
  -- `:e!` restores the original proposal.
  vim.api.nvim_create_autocmd("BufReadCmd", {
    buffer = self.proposed,
    callback = function()
      vim.api.nvim_buf_set_lines(self.proposed, 0, -1, false, (M.lines(change.newText)))
      vim.bo[self.proposed].modified = false
    end,
  })
  local back = { "q", "hide", "back to the question; what you changed stays" }
  view.map(self.was, "A change", self, { back }, { close = false })
  view.map(self.proposed, "A proposed change", self, {
    back,
    { "ZZ", allow, "allow this version" },
    { "do", false, "undo the part under the cursor" },
    { "]c", false, "to the next part" },
    { "[c", false, "to the previous part" },
  }, { close = false, help = { "g?" } })
  return self
end

--- Returns the text of the proposal if the person has changed it.
---@return string?
function Review:changed()
  if not vim.api.nvim_buf_is_loaded(self.proposed) then
    return nil
  end
  local lines = vim.api.nvim_buf_get_lines(self.proposed, 0, -1, false)
  local count = vim.api.nvim_buf_call(self.proposed, vim.fn.wordcount)
  -- An empty buffer also has one empty line; the byte count tells the two apart.
  lines = count.bytes == 0 and {} or lines
  local proposed, form = M.lines(self.change.newText)
  if vim.deep_equal(lines, proposed) then
    return nil
  end
  local old = self.change.oldText or ""
  -- If the person took every part back, return the old text exactly.
  return vim.deep_equal(lines, (M.lines(old))) and old or M.text(lines, form)
end

--- Shows both sides, with the cursor at the first difference.
function Review:show()
  local win = vim.fn.bufwinid(self.proposed)
  if win ~= -1 then
    return vim.api.nvim_set_current_win(win)
  end
  vim.cmd("tab sbuffer " .. self.was)
  -- Side by side only if each side is wide enough for code.
  local side = vim.o.columns >= 120 and "vertical " or ""
  vim.cmd("rightbelow " .. side .. "sbuffer " .. self.proposed)
  local name = vim.fn.fnamemodify(self.change.path, ":~:.")
  local bars = {
    [self.was] = name .. (self.change.oldText and ", as it is" or ", which does not exist yet"),
    [self.proposed] = "proposed: do undoes a part, ZZ allows this, q: later",
  }
  for _, one in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    vim.api.nvim_win_call(one, vim.cmd.diffthis)
    view.bar(vim.api.nvim_win_get_buf(one), bars[vim.api.nvim_win_get_buf(one)] or "")
  end
  vim.cmd("normal! gg")
  if vim.fn.diff_hlID(1, 1) == 0 then
    vim.cmd("silent! normal! ]c")
  end
end

--- Closes the windows of both sides.
function Review:hide()
  for _, buf in ipairs({ self.proposed, self.was }) do
    for _, win in ipairs(vim.fn.win_findbuf(buf)) do
      if #vim.api.nvim_list_wins() > 1 then
        vim.api.nvim_win_close(win, true)
      end
    end
  end
end

--- Closes the windows and deletes both buffers.
function Review:close()
  self:hide()
  for _, buf in ipairs({ self.proposed, self.was }) do
    if vim.api.nvim_buf_is_valid(buf) then
      vim.api.nvim_buf_delete(buf, { force = true })
    end
  end
end

return M
