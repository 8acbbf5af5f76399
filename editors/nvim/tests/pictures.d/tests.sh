ok='\033[32mPASSED\033[0m' bad='\033[31mFAILED\033[0m'
printf 'test_cart.py::test_add %b\n' "$ok"
printf 'test_cart.py::test_empty %b\n' "$ok"
printf 'test_cart.py::test_total %b\n' "$bad"
sleep "${1:-0.2}"
printf '\n\033[1mtest_cart.py:14: in test_total\033[0m\n'
printf '    assert cart.total() == 30\n\033[31mE   assert 10 == 30\033[0m\n\n'
printf '\033[31m\033[1m1 failed\033[0m, \033[32m2 passed\033[0m in 0.21s\n'
exit 1
