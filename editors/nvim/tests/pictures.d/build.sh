for i in 8 21 37 52 64; do
    printf '\r[%d%%] Building shop/cart.o' "$i"
    sleep 0.4
done
sleep "${1:-600}"
printf '\r[100%%] Built shop             \n'
