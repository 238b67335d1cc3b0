"""What `cloudcore takeover check` looks at before KubeEdge's cloudcore is replaced."""
