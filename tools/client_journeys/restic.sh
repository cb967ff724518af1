# restic: a repository with two backups, verified to the last byte, restored, pruned.
export RESTIC_REPOSITORY="s3:$AWS_ENDPOINT_URL/$BUCKET/backups" RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$PWD/cache
mkdir -p tree/sub
head -c 40000000 /dev/urandom > tree/big
for n in $(seq 50); do echo "$n" > "tree/sub/$n.txt"; done
restic init -q
restic backup -q tree
echo changed > tree/sub/1.txt
restic backup -q tree
test "$(restic snapshots --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" = 2
restic check -q --read-data
restic restore -q latest --target back
diff -r tree "back$PWD/tree" || diff -r tree back/tree
restic forget -q --keep-last 1 --prune
restic check -q
