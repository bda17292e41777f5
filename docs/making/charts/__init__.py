"""What is generated of deploy/helm: values, their schemas, Roles, definitions of resources."""
