"""Tests of the stand-in; boto3 speaks to it as any client does. tools/aws-local install comes first."""
