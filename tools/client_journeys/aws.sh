# The aws command: sync there and back, with deletions, and a large file in parts.
mkdir -p tree/sub back
head -c 20000000 /dev/urandom > tree/big
for n in $(seq 40); do echo "$n" > "tree/sub/file $n.txt"; done
aws s3 mb "s3://$BUCKET"
aws s3 sync tree "s3://$BUCKET/t" --no-progress > first
test "$(wc -l < first)" -eq 41
aws s3 sync tree "s3://$BUCKET/t" > again
test ! -s again
rm "tree/sub/file 7.txt"
aws s3 sync tree "s3://$BUCKET/t" --delete
aws s3 sync "s3://$BUCKET/t" back --no-progress
diff -r tree back
test "$(aws s3 ls "s3://$BUCKET/t/sub/" | wc -l)" -eq 39
curl -fsS "$(aws s3 presign "s3://$BUCKET/t/big")" | cmp - tree/big
aws s3 rb "s3://$BUCKET" --force
