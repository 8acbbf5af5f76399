--- The keys of a chat's two buffers, the transcript and the prompt.

local draw = require("meanwhile.ui.chat_draw")
local permission = require("meanwhile.ui.permission")
local sessions = require("meanwhile.sessions")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

---@type table<string, fun(chat: meanwhile.Chat)>
local deeds = {}

function deeds.output(chat)
  local item = draw.item(chat)
  local id = item and item.task
  if item and item.kind == "background" then
    -- The item may list several tasks: take that of the cursor's line.
    id = vim.api.nvim_get_current_line():match("%[bg:(%x+)%]")
  end
  if id then
    require("meanwhile.ui.output").open(chat.workspace, id)
  end
end

function deeds.write(chat)
  chat:show()
  vim.cmd.startinsert()
end

function deeds.ask(chat)
  if chat.session and #permission.waiting(chat.session) > 0 then
    permission.next(chat.session, chat.buf, true, true)
  else
    tell.info("no request for permission waits")
  end
end

function deeds.timeline(chat)
  require("meanwhile.ui.timeline").open(chat.workspace, chat.session)
end

function deeds.choose(chat)
  sessions.choose(chat.workspace, function(id)
    chat:load(id)
  end)
end

function deeds.close(chat)
  view.close(chat.input)
  view.close(chat.buf)
end

--- Maps the keys of both buffers.
---@param chat meanwhile.Chat
function M.map(chat)
  local cancel = { "<C-c>", "cancel", "end the turn (background tasks go on)" }
  local owner = setmetatable({}, {
    __index = function(_, name)
      return function()
        (deeds[name] or chat[name])(chat)
      end
    end,
  })
  view.map(chat.buf, "Chat", owner, {
    { "<CR>", "output", "open the output of a command" },
    { { "i", "a" }, "write", "write" },
    { "p", "ask", "answer a request for permission" },
    { "t", "timeline", "open the timeline" },
    { "s", "choose", "choose another session" },
    cancel,
    { "q", "close", "close" },
  }, { close = false })
  view.map(chat.input, "Writing", owner, {
    { "<CR>", "submit", "send (normal mode)" },
    { "<C-s>", "submit", "send (also while writing)", mode = { "n", "i" } },
    cancel,
  }, { close = false, help = { "g?" } })
end

return M
