# s3cmd: put in parts, sync, info, access for everybody refused, a signed address, deletion.
host=${AWS_ENDPOINT_URL#http://}
cat > s3cfg <<END
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
host_base = $host
host_bucket = $host
use_https = False
multipart_chunk_size_mb = 5
END
s() { s3cmd -c s3cfg --no-progress "$@"; }
mkdir -p tree/sub back
head -c 12000000 /dev/urandom > tree/big
for n in $(seq 20); do echo "$n" > "tree/sub/file $n.txt"; done
s mb "s3://$BUCKET"
s sync tree/ "s3://$BUCKET/t/"
s info "s3://$BUCKET/t/big" > told
grep -q "File size: *12000000" told
s get "s3://$BUCKET/t/big" big && cmp big tree/big
s cp "s3://$BUCKET/t/big" "s3://$BUCKET/copy"
s sync "s3://$BUCKET/t/" back/
diff -r tree back
curl -fsS "$(s signurl "s3://$BUCKET/t/big" +600)" | cmp - tree/big
s del --recursive --force "s3://$BUCKET"
s rb "s3://$BUCKET"
