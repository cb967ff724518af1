# rclone: sync, check by hash, a file in parts, a move, ranged reads. (Provider AWS wants HTTPS: it sends files unsigned.)
export RCLONE_CONFIG_C_TYPE=s3 RCLONE_CONFIG_C_PROVIDER=Other RCLONE_CONFIG_C_ENV_AUTH=true
export RCLONE_CONFIG_C_ENDPOINT="$AWS_ENDPOINT_URL" RCLONE_CONFIG_C_REGION=us-east-1 RCLONE_CONFIG=none.conf
touch none.conf
mkdir -p tree/sub back
head -c 30000000 /dev/urandom > tree/big
for n in $(seq 60); do echo "$n" > "tree/sub/ä $n +%.txt"; done
rclone mkdir "C:$BUCKET"
rclone sync tree "C:$BUCKET/t" --s3-upload-cutoff 5M --s3-chunk-size 5M
rclone check tree "C:$BUCKET/t" --download
rclone check tree "C:$BUCKET/t"
rclone moveto "C:$BUCKET/t/big" "C:$BUCKET/t/moved"
rclone cat --offset 1000000 --count 1000 "C:$BUCKET/t/moved" > piece
test "$(stat -c %s piece)" -eq 1000
cmp --ignore-initial=1000000:0 --bytes=1000 tree/big piece
mv tree/big tree/moved
rclone sync "C:$BUCKET/t" back
diff -r tree back
rclone purge "C:$BUCKET"
