-- nvim --clean --headless -l tests/vimdoc-lint.lua doc/*.txt: reports errors in help files: text that
-- Neovim's grammar cannot parse, lines too long for a window, links without a target.
local faults = {}
local tags, links = {}, {}
for _, file in ipairs(vim.fn.glob(vim.env.VIMRUNTIME .. "/doc/tags", false, true)) do
  for line in io.lines(file) do
    tags[line:match("^[^\t]+")] = true
  end
end
for _, file in ipairs(_G.arg) do
  local lines = vim.fn.readfile(file)
  local text = table.concat(lines, "\n") .. "\n"
  local root = vim.treesitter.get_string_parser(text, "vimdoc"):parse()[1]:root()
  local function each(query, fn)
    for _, node in vim.treesitter.query.parse("vimdoc", query):iter_captures(root, text) do
      fn(node:start() + 1, vim.treesitter.get_node_text(node, text))
    end
  end
  each("(ERROR) @e", function(row)
    table.insert(faults, ("%s:%d: cannot be read"):format(file, row))
  end)
  each("(tag text: (_) @t)", function(_, tag)
    tags[tag] = true
  end)
  each("(taglink text: (_) @t)", function(row, tag)
    table.insert(links, { file, row, tag })
  end)
  for row, line in ipairs(lines) do
    if vim.fn.strdisplaywidth(line) > 78 then
      table.insert(faults, ("%s:%d: longer than 78"):format(file, row))
    end
  end
end
for _, link in ipairs(links) do
  if not tags[link[3]] then
    table.insert(faults, ("%s:%d: |%s| leads nowhere"):format(unpack(link)))
  end
end
for _, fault in ipairs(faults) do
  io.write(fault .. "\n")
end
os.exit(#faults == 0 and 0 or 1)
