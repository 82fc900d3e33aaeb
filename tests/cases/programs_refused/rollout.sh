#!/bin/sh
read -r hello
echo '{"id":0,"result":{"kind":"rollout","name":"mine","summary":"Plays."}}'
