--- The keys of a chat: of what was said, and of where to write.

local draw = require("meanwhile.ui.chat_draw")
local permission = require("meanwhile.ui.permission")
local sessions = require("meanwhile.sessions")
local tell = require("meanwhile.tell")
local view = require("meanwhile.ui.view")

local M = {}

--- Maps the keys of both buffers.
---@param chat meanwhile.Chat
function M.map(chat)
  local function submit()
    chat:submit()
  end
  local cancel = {
    "<C-c>",
    function()
      chat:cancel()
    end,
    "end the turn (background tasks go on)",
  }
  local ask = {
    "p",
    function()
      if chat.session and #permission.waiting(chat.session) > 0 then
        permission.next(chat.session, chat.buf, true, true)
      else
        tell.info("no request for permission waits")
      end
    end,
    "answer a request for permission",
  }
  local timeline = {
    "t",
    function()
      require("meanwhile.ui.timeline").open(chat.workspace, chat.session)
    end,
    "open the timeline",
  }
  local choose = {
    "s",
    function()
      sessions.choose(chat.workspace, function(id)
        chat:load(id)
      end)
    end,
    "choose another session",
  }
  local close = {
    "q",
    function()
      view.close(chat.input)
      view.close(chat.buf)
    end,
    "close",
  }
  view.map(chat.buf, "Chat", {
    {
      "<CR>",
      function()
        local item = draw.item(chat)
        local text = item and item.text or ""
        local id = item and item.task
        if item and item.kind == "background" then
          -- The result under the cursor, or the first.
          local line = vim.api.nvim_get_current_line()
          id = line:match("%[bg:(%x+)%]") or text:match("%[bg:(%x+)%]")
        end
        if id then
          require("meanwhile.ui.output").open(chat.workspace, id)
        end
      end,
      "open the output of a command",
    },
    {
      { "i", "a" },
      function()
        chat:show()
        vim.cmd.startinsert()
      end,
      "write",
    },
    ask,
    timeline,
    choose,
    cancel,
    close,
  })
  vim.keymap.set("n", "<CR>", submit, { buffer = chat.input, desc = "send" })
  vim.keymap.set({ "n", "i" }, "<C-s>", submit, { buffer = chat.input, desc = "send" })
  vim.keymap.set("n", "<C-c>", cancel[2], { buffer = chat.input, desc = cancel[3] })
  vim.keymap.set("n", "g?", function()
    view.help("Writing", {
      { "<CR>", submit, "send (normal mode)" },
      { "<C-s>", submit, "send (also while writing)" },
      cancel,
    })
  end, { buffer = chat.input, desc = "show the keys" })
end

return M
