#!/usr/bin/env bash
# Checks these scripts and the template: SAM's and CloudFormation's rules, then security (exceptions with their reasons: checkov.yaml).
. "$(dirname "$0")/common.sh"
"$here/tools.sh" lint

sam validate --lint --template template.yaml
cfn-lint --template template.yaml
LOG_LEVEL=ERROR "$state/lint/bin/checkov" --config-file "$here/checkov.yaml"
"$state/lint/bin/shellcheck" --external-sources --source-path=SCRIPTDIR "$here"/*.sh
