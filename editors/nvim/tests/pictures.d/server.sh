echo "listening on http://localhost:8080"
exec sleep 600
