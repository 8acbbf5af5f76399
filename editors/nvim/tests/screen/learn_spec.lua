local harness = require("harness")

describe(":Meanwhile learn", function()
  local place, nvim
  before_each(function()
    place = harness.place()
    nvim = harness.child(place)
  end)
  after_each(harness.clean)

  it("opens the lesson in a tab, which closes with it", function()
    nvim:cmd("Meanwhile learn 2")
    nvim:sees("Where does it belong?")
    nvim:type("f")
    nvim:sees("duration")
    nvim:type("q")
    nvim:eventually("#vim.api.nvim_list_tabpages() == 1")
  end)
end)
