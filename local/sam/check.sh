#!/usr/bin/env bash
# Checks these scripts and the template: the rules of SAM and CloudFormation, then security. checkov.yaml lists the
# exceptions with their reasons.
. "$(dirname "$0")/common.sh"
"$here/tools.sh" lint

# build.sh and scenario.sh find the functions with `binaries`, which depends on how the template is written.
[ "$(binaries | wc -l)" = "$(grep -c 'Type: AWS::Serverless::Function' template.yaml)" ] ||
  fail "binaries (common.sh) does not find every function of template.yaml."

sam validate --lint --template template.yaml
cfn-lint --template template.yaml
LOG_LEVEL=ERROR "$state/lint/bin/checkov" --config-file "$here/checkov.yaml"
"$state/lint/bin/shellcheck" --external-sources --source-path=SCRIPTDIR "$here"/*.sh
