package wechattest

import "net/http"

const controlPrefix = "/sandbox/"

func (s *Server) control(w http.ResponseWriter, req *http.Request) { http.NotFound(w, req) }
