#!/usr/bin/env bash
# Deploys this app with the aws command alone: to AWS, or to whatever AWS_ENDPOINT_URL names.
# Usage: ./deploy.sh BUCKET [STACK]      BUCKET holds the packaged code and must exist.
set -euo pipefail
cd "$(dirname "$0")"
bucket=${1:?usage: ./deploy.sh BUCKET [STACK]}
stack=${2:-profile-app}
python=${PYTHON:-python3.11}

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
# The instance has Amazon Linux 2023; the function's python3.11 has Amazon Linux 2, which takes older wheels only.
wheels=(--only-binary=:all: --python-version 3.11 --platform manylinux2014_x86_64)

cp -r app "$build/app"
"$python" -m pip install -q -r app/requirements.txt --target "$build/app" "${wheels[@]}" --platform manylinux_2_28_x86_64
cp -r thumbnail "$build/thumbnail"
"$python" -m pip install -q -r thumbnail/requirements.txt --target "$build/thumbnail" "${wheels[@]}"
cp template.yaml "$build/"

(cd "$build/app" && "$python" -m zipfile -c ../app.zip .)
key="profile-app/$(sha256sum "$build/app.zip" | cut -c1-32).zip"
aws s3 cp "$build/app.zip" "s3://$bucket/$key" --only-show-errors

aws cloudformation package --template-file "$build/template.yaml" --s3-bucket "$bucket" --output-template-file "$build/packaged.yaml" >/dev/null
aws cloudformation deploy --template-file "$build/packaged.yaml" --stack-name "$stack" \
  --parameter-overrides "AppBucket=$bucket" "AppKey=$key" --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND
aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Outputs' --output table
